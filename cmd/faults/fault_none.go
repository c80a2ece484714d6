package main

var noFault = fault{
	name: "none", title: "none", about: "nothing is broken; clients come and go all the same, to one or another of the instances, as it falls out",
	short: true, fleets: []fleet{alone, two, four, twoBy, fourBy},
}

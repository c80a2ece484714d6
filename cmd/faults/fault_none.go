package main

var noFault = fault{
	name: "none", title: "none", about: "nothing is broken; clients come and go all the same",
	short: true,
}

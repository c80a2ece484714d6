package main

import (
	"bytes"
	"fmt"
	"image/color"
	"maps"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// chart is a picture of how one thing grows with another. Both axes are logarithmic.
type chart struct {
	name   string // of its file, without .svg
	title  string
	x, y   string // what is along the axes, with the unit
	curves []curve
}

// curve is one line of a chart.
type curve struct {
	name   string
	points []point
}

// point has its median and where the lowest and the highest round were.
type point struct {
	x float64
	y spread
}

func (c *curve) add(x float64, y spread) { c.points = append(c.points, point{x, y}) }

// curveColors can be told from each other by those who do not see red and green as different.
var curveColors = []color.RGBA{{0x1f, 0x5f, 0xa8, 0xff}, {0xd9, 0x5f, 0x02, 0xff}, {0x5a, 0x5a, 0x5a, 0xff}, {0x1b, 0x9e, 0x77, 0xff}}

// svg draws the chart.
func (c chart) svg() ([]byte, error) {
	p := plot.New()
	p.Title.Text = c.title
	p.Title.Padding = 10
	p.X.Label.Text, p.Y.Label.Text = c.x, c.y
	p.X.Padding, p.Y.Padding = 4, 4
	for _, style := range []*font.Font{&p.Title.TextStyle.Font, &p.X.Label.TextStyle.Font, &p.Y.Label.TextStyle.Font,
		&p.X.Tick.Label.Font, &p.Y.Tick.Label.Font, &p.Legend.TextStyle.Font} {
		style.Variant = "Sans"
		style.Size = 11
	}
	p.Title.TextStyle.Font.Size = 13
	p.Legend.Top, p.Legend.Left = true, c.rises()
	p.Legend.Padding = 3

	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = color.Gray{0xdd}, color.Gray{0xdd}
	p.Add(grid)
	var xs, ys []float64
	for i, curve := range c.curves {
		points := &drawable{}
		for _, at := range curve.points {
			if positive(at.x, at.y.min, at.y.median) {
				points.XYs = append(points.XYs, plotter.XY{X: at.x, Y: at.y.median})
				points.YErrors = append(points.YErrors, struct{ Low, High float64 }{at.y.min - at.y.median, at.y.max - at.y.median})
				xs, ys = append(xs, at.x), append(ys, at.y.min, at.y.max)
			}
		}
		if points.Len() == 0 {
			continue
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", c.name, curve.name, err)
		}
		rounds, err := plotter.NewYErrorBars(points)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", c.name, curve.name, err)
		}
		shade := curveColors[i%len(curveColors)]
		line.Color, dots.Color, rounds.Color = shade, shade, shade
		line.Width = 1.5
		dots.Shape = draw.CircleGlyph{}
		dots.Radius = 2.5
		p.Add(line, dots, rounds)
		p.Legend.Add(curve.name, line, dots)
	}
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.TickerFunc(decadeTicks), plot.TickerFunc(decadeTicks)
	p.X.Min, p.X.Max = decades(xs)
	p.Y.Min, p.Y.Max = decades(ys)

	canvas := vgsvg.New(16*vg.Centimeter, 10*vg.Centimeter)
	all := draw.New(canvas)
	all.SetColor(color.White) // a page may be dark
	all.Fill(all.Rectangle.Path())
	const margin = 8
	p.Draw(draw.Crop(all, margin, -2*margin, margin, -margin))
	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	// Letters of the same widths where the font is missing.
	return bytes.ReplaceAll(out.Bytes(), []byte("font-family:Liberation Sans"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif")), nil
}

// rises says that the curves end higher than they begin: then there is room above their beginning, otherwise above their end.
func (c chart) rises() bool {
	sum := 0.0
	for _, curve := range c.curves {
		if n := len(curve.points); n > 0 {
			sum += math.Log(curve.points[n-1].y.median) - math.Log(curve.points[0].y.median)
		}
	}
	return sum > 0
}

// drawable are the points of a curve with their rounds, as the library wants them.
type drawable struct {
	plotter.XYs
	plotter.YErrors
}

// figures are what the rounds of several measurements came to, by the measurement.
type figures map[int][]float64

func (f figures) add(at int, value float64) { f[at] = append(f[at], value) }

// curve draws the figures, in a unit of which one second, or whatever they are in, has so many.
func (f figures) curve(name string, units float64) curve {
	c := curve{name: name}
	for _, at := range slices.Sorted(maps.Keys(f)) {
		s := spreadOf(f[at])
		c.add(float64(at), spread{s.median * units, s.min * units, s.max * units})
	}
	return c
}

func positive(values ...float64) bool {
	for _, v := range values {
		if !(v > 0) || math.IsInf(v, 0) { // NaN is not
			return false
		}
	}
	return true
}

// decades are the powers of ten that the values lie between.
func decades(values []float64) (low, high float64) {
	low, high = math.Inf(1), 0
	for _, v := range values {
		low, high = min(low, v), max(high, v)
	}
	if !positive(low, high) {
		return 1, 10
	}
	low, high = math.Floor(math.Log10(low)+1e-9), math.Ceil(math.Log10(high)-1e-9)
	if high <= low {
		high = low + 1
	}
	return math.Pow(10, low), math.Pow(10, high)
}

// decadeTicks are a figure at each power of ten, and marks between.
func decadeTicks(low, high float64) (ticks []plot.Tick) {
	first, last := int(math.Round(math.Log10(low))), int(math.Round(math.Log10(high)))
	for e := first; e <= last; e++ {
		decade := math.Pow(10, float64(e))
		ticks = append(ticks, plot.Tick{Value: decade, Label: decadeLabel(e)})
		for n := 2.0; n < 10 && e < last; n++ {
			ticks = append(ticks, plot.Tick{Value: n * decade})
		}
	}
	return ticks
}

// decadeLabel writes a power of ten as it is written everywhere on the page.
func decadeLabel(exponent int) string {
	if exponent < 0 {
		return strconv.FormatFloat(math.Pow(10, float64(exponent)), 'f', -exponent, 64)
	}
	return asCount(math.Pow(10, float64(exponent)))
}

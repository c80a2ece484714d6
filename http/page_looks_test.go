package http_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// Light and dark, wide and narrow: nothing sticks out, and the text can be read. The pictures are for looking at.
func testPageLooks(t *testing.T, browser context.Context) {
	d := newDatabase(t)
	d.exec(`insert into users (username, display_name) values ('boris', 'Борис'), ('chloe', 'Chloé'), ('long', $1)`, strings.Repeat("Longname", 20))
	for _, m := range []struct {
		author         int
		title, content string
	}{
		{1, "Welcome", "This is the information channel. Whoever writes a row, everybody sees it at once."},
		{4, strings.Repeat("Averylongwordthatdoesnotend", 10), strings.Repeat("Anotherlongword", 40)},
		{2, "Как это работает", "Триггер пишет журнал, сервер читает его\nи рассказывает всем подписчикам.\n\n    с отступом"},
		{3, "你好 \U0001F600", strings.Repeat("Some words that fill a few lines of a paragraph. ", 12)},
	} {
		id := query[int64](d, `insert into messages (author_id, title, content) values ($1, $2, $3) returning id`, m.author, m.title, m.content)
		d.comment(id, "Nice to be here!")
		d.exec(`insert into comments (message_id, author_id, content) values ($1, 2, 'It works from any tool that speaks SQL.')`, id)
	}
	d.exec(`update messages set title = title || '!' where id = 3`)
	s := start(t, d.url, options{})
	p := openTab(t, browser)
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{1280, 390, 320} {
			p.screen(width, scheme)
			p.do(chromedp.Navigate("http://" + s.addr + "/"))
			p.awaitState("live")
			p.await(`document.querySelectorAll('#messages > article').length === 4`)
			if wide := evaluate[int](p, `document.documentElement.scrollWidth`); wide > int(width) {
				t.Errorf("in %s, at %d pixels, the page is %d wide", scheme, width, wide)
			}
			if contrast := evaluate[float64](p, worstContrast); contrast < 4.5 {
				t.Errorf("in %s, at %d pixels, some text has a contrast of %.1f, want 4.5", scheme, width, contrast)
			}
			p.picture(fmt.Sprintf("%s-%d.png", scheme, width))
		}
	}
	p.expectNoErrors()
}

// worstContrast is the lowest contrast, by WCAG's formula, of a text with what is behind it.
const worstContrast = `(() => {
	const rgb = (color) => color.match(/[\d.]+/g).map(Number);
	const light = (color) => {
		const [r, g, b] = rgb(color).map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const behind = (element) => {
		for (; element; element = element.parentElement) {
			const color = getComputedStyle(element).backgroundColor;
			if ((rgb(color)[3] ?? 1) > 0) return color;
		}
		return 'rgb(255, 255, 255)';
	};
	let worst = 21;
	for (const element of document.body.querySelectorAll('*')) {
		if (![...element.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.textContent.trim())) continue;
		const [a, b] = [light(getComputedStyle(element).color), light(behind(element))].sort((x, y) => y - x);
		worst = Math.min(worst, (a + 0.05) / (b + 0.05));
	}
	return worst;
})()`

package http_test

import (
	"context"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	tidingshttp "tidings/http"
)

// Who signs up writes, changes and deletes, and others see it at once; of what others have written, only who keeps order changes anything.
func testPageWriting(t *testing.T, browser context.Context) {
	d, s := channelWithAccounts(t, tidingshttp.AccountOptions{})
	dora := openPage(t, browser, s.addr)
	if evaluate[bool](dora, `!!document.querySelector('[data-compose]')`) {
		t.Error("nobody in particular may write")
	}
	dora.signUp("dora", "Dora")
	emil := openPage(t, browser, s.addr)
	emil.signUp("emil", "Emil")

	dora.write("Hello", "I am <b>new</b>")
	for _, p := range []*tab{dora, emil} {
		p.expectShown("Hello | Dora | I am <b>new</b>")
	}
	emil.comment("Hello", "Welcome!")
	dora.comment("Hello", "Thank you")
	for _, p := range []*tab{dora, emil} {
		p.expectShown("Hello | Dora | I am <b>new</b> | Emil Welcome! | Dora Thank you")
	}
	d.exec(`insert into messages (author_id, title, content) values (1, 'from psql', '')`)
	for _, p := range []*tab{dora, emil} {
		p.expectShown("from psql | Ada | ", "Hello | Dora | I am <b>new</b> | Emil Welcome! | Dora Thank you")
	}

	hello := dora.messageID("Hello")
	if may := evaluate[int](emil, `document.querySelectorAll('header [data-edit], header [data-delete]').length`); may != 0 {
		t.Errorf("who has written no message may change some, by %d buttons", may)
	}
	dora.click(`#message-` + hello + ` header [data-edit]`)
	dora.await(`document.activeElement.value === 'Hello'`)
	dora.types(`#message-`+hello+` [data-composer="edit"] [name="title"]`, " all")
	dora.click(`#message-` + hello + ` [data-composer="edit"] [type="submit"]`)
	emil.expectShown("from psql | Ada | ", "Hello all | Dora | I am <b>new</b> | Emil Welcome! | Dora Thank you")
	dora.await(`document.activeElement.matches('#message-` + hello + ` header [data-edit]')`)
	emil.await(`document.querySelector('#message-` + hello + ` header .edited')`)

	// With the keyboard: Escape leaves it as it is, and Ctrl and Enter change it.
	emil.click(`.comment [data-edit]`)
	emil.do(chromedp.KeyEvent("nonsense"), chromedp.KeyEvent(kb.Escape))
	emil.await(`!document.querySelector('[data-composer="edit"]') && document.activeElement.matches('.comment [data-edit]')`)
	emil.do(chromedp.KeyEvent(kb.Enter))
	emil.await(`document.activeElement.value === 'Welcome!'`)
	emil.do(chromedp.KeyEvent(" Really"), chromedp.KeyEvent(kb.Enter, chromedp.KeyModifiers(chromedp.ModifierCtrl)))
	dora.expectShown("from psql | Ada | ", "Hello all | Dora | I am <b>new</b> | Emil Welcome! Really | Dora Thank you")

	// Deleting asks first.
	emil.click(`.comment [data-delete]`)
	emil.await(`document.querySelector('[data-confirm]')?.open`)
	emil.do(chromedp.KeyEvent(kb.Escape))
	emil.await(`!document.querySelector('[data-confirm]') && document.activeElement.matches('.comment [data-delete]')`)
	emil.click(`.comment [data-delete]`)
	emil.click(`[data-confirm] [data-yes]`)
	for _, p := range []*tab{emil, dora} {
		p.expectShown("from psql | Ada | ", "Hello all | Dora | I am <b>new</b> | Dora Thank you")
	}

	// Moderators change and delete what others have written.
	d.exec(`update users set role = 'moderator' where username = 'emil'`)
	emil.do(chromedp.Reload())
	emil.awaitState("live")
	emil.click(`#message-` + hello + ` header [data-delete]`)
	emil.await(`document.querySelector('[data-confirm]')?.textContent.includes('Its comment goes with it')`)
	emil.click(`[data-confirm] [data-yes]`)
	for _, p := range []*tab{emil, dora} {
		p.expectShown("from psql | Ada | ")
		p.expectNoErrors()
	}
}

// People see who is there, who types, and what concerns them.
func testPageTogether(t *testing.T, browser context.Context) {
	d, s := channelWithAccounts(t, tidingshttp.AccountOptions{})
	dora := openPage(t, browser, s.addr)
	dora.signUp("dora", "Dora")
	emil := openPage(t, browser, s.addr)
	dora.await(`document.querySelector('[data-online-count]')?.dataset.onlineCount === '1'`)
	emil.signUp("emil", "Emil")
	for _, p := range []*tab{dora, emil} {
		p.await(`[...document.querySelectorAll('aside .person .name')].map((e) => e.textContent).sort().join() === 'Dora,Emil'`)
	}
	dora.write("Question", "Does anybody know?")
	emil.expectShown("Question | Dora | Does anybody know?")
	id := emil.messageID("Question")
	second := dora.another(s.addr) // another window of the same person

	emil.click(`#message-` + id + ` [data-comment]`)
	emil.types(`#message-`+id+` textarea`, "Ask @dora")
	dora.await(`document.querySelector('[data-typing="comments:` + id + `"]:not([hidden])')?.textContent.includes('Emil is typing')`)
	emil.do(chromedp.KeyEvent(kb.Enter, chromedp.KeyModifiers(chromedp.ModifierCtrl)))
	dora.await(`document.querySelector('[data-typing="comments:` + id + `"]')?.hidden`)
	for _, p := range []*tab{dora, second} {
		p.await(`document.title === '(1) tidings'`)
	}
	if title := evaluate[string](emil, `document.title`); title != "tidings" {
		t.Errorf("who has written it has the title %q", title)
	}
	if text := evaluate[string](dora, `document.querySelector('.comment .mention').dataset.me + ' ' + document.querySelector('.comment .mention').textContent`); text != "true @dora" {
		t.Errorf("the mention is %q", text)
	}
	d.exec(`insert into messages (author_id, title, content) select 1, 'many ' || i, '' from generate_series(1, 400) as i`)
	dora.await(`!document.getElementById('message-` + id + `') && document.querySelector('#messages h3')?.textContent === 'many 400'`)
	dora.click(`[data-open="notifications"]`)
	dora.await(`document.querySelector('[data-notification]')?.textContent.includes('Emil mentioned you in “Question”')`)
	dora.click(`[data-notification] button`)
	dora.await(`document.activeElement.id === 'message-` + id + `'`) // which had to be loaded
	for _, p := range []*tab{dora, second} {
		p.await(`document.title === 'tidings'`)
	}
	if read := query[int](d, `select count(*)::int from notifications where read_at is not null`); read != 1 {
		t.Errorf("%d notifications are read, want 1", read)
	}

	// Who signs out does so in all windows, and goes on reading.
	dora.click(`[data-open="menu"]`)
	dora.click(`[data-sign-out]`)
	for _, p := range []*tab{dora, second} {
		p.await(`document.querySelector('[data-prompt]') && !document.querySelector('[data-compose]')`)
		p.awaitState("live")
	}
	second.await(`document.querySelector('[data-note="ended"]')`)
	emil.await(`document.querySelector('[data-online-count]')?.dataset.onlineCount === '1' && document.querySelector('.people.earlier')?.textContent.includes('Dora')`)
	d.exec(`delete from messages`)
	d.message("still live")
	for _, p := range []*tab{dora, second, emil} {
		p.expectShown("still live | Ada | text")
		p.expectNoErrors()
	}

	// And comes back.
	dora.click(`[data-prompt] [data-sign-in]`)
	dora.types(`dialog [name="username"]`, "dora")
	dora.types(`dialog [name="password"]`, "wrong password")
	dora.do(chromedp.KeyEvent(kb.Enter))
	dora.await(`document.querySelector('dialog [data-problem]')?.textContent === 'The username or the password is wrong.'`)
	evaluate[chromedp.Void](dora, `document.querySelector('dialog [name="password"]').select()`)
	dora.types(`dialog [name="password"]`, password+kb.Enter)
	dora.awaitSignedIn()
	second.awaitSignedIn()
}

// Where not everybody may read, signing in comes first.
func testPageNotPublic(t *testing.T, browser context.Context) {
	d, s := channelWithAccounts(t, tidingshttp.AccountOptions{})
	d.exec(`update tidings.watches set read = 'signed_in'`)
	d.exec(`update tidings.streams set read = 'signed_in'`)
	s.refreshTopics()
	d.message("for some")
	p := openTab(t, browser)
	p.do(chromedp.Navigate("http://" + s.addr + "/"))
	p.await(`document.querySelector('main [data-form="signIn"]')`)
	if text := evaluate[string](p, `document.body.textContent`); slices.Contains([]string{text}, "for some") {
		t.Errorf("the page shows %q", text)
	}
	p.click(`main [data-other]`)
	p.types(`main [name="username"]`, "dora")
	p.types(`main [name="password"]`, "short"+kb.Enter)
	p.await(`document.querySelector('main .field .problem')?.textContent.includes('8 characters')`)
	p.types(`main [name="password"]`, " no more"+kb.Enter)
	p.awaitSignedIn()
	p.expectShown("for some | Ada | text")
	d.message("live")
	p.expectShown("live | Ada | text", "for some | Ada | text")
	p.expectNoErrors()
}

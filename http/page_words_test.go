package http_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The pages have each word in both languages, with the same values in it, and none that nothing says.
func TestPageWords(t *testing.T) {
	t.Parallel()
	word := regexp.MustCompile(`(?m)^  (?:'([^']+)'|(\w+)): `)
	value := regexp.MustCompile(`\{\w+\}`)
	template := regexp.MustCompile("`([a-zA-Z.]+\\.)\\$\\{[\\w.]+\\}((?:\\.\\w+)?)`") // `theme.${key}`
	for _, directory := range []string{"page", "page/admin"} {
		files, err := filepath.Glob(directory + "/*.js")
		if err != nil {
			t.Fatal(err)
		}
		words := map[string]map[string]string{}
		var program strings.Builder
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			language := strings.TrimSuffix(filepath.Base(file), ".js")
			if language != "en" && language != "ru" {
				program.Write(text)
				continue
			}
			words[language] = map[string]string{}
			begin := word.FindAllIndex(text, -1)
			for i, at := range begin {
				end := len(text)
				if i+1 < len(begin) {
					end = begin[i+1][0]
				}
				name := word.FindSubmatch(text[at[0]:at[1]])
				values := value.FindAllString(string(text[at[1]:end]), -1)
				slices.Sort(values)
				words[language][string(name[1])+string(name[2])] = strings.Join(slices.Compact(values), " ")
			}
		}
		if len(words["en"]) < 100 {
			t.Fatalf("%s has %d words: are they written otherwise?", directory, len(words["en"]))
		}
		templates := template.FindAllStringSubmatch(program.String(), -1)
		said := func(name string) bool {
			return strings.Contains(program.String(), "'"+name+"'") || strings.Contains(program.String(), `"`+name+`"`) ||
				slices.ContainsFunc(templates, func(of []string) bool { return strings.HasPrefix(name, of[1]) && strings.HasSuffix(name, of[2]) })
		}
		for name, values := range words["en"] {
			if other, there := words["ru"][name]; !there || other != values {
				t.Errorf("%s: %q has the values %q in English, and %q in Russian (there: %v)", directory, name, values, other, there)
			}
			if !said(name) {
				t.Errorf("%s: nothing says %q", directory, name)
			}
		}
		for name := range words["ru"] {
			if _, there := words["en"][name]; !there {
				t.Errorf("%s: %q is there in Russian alone", directory, name)
			}
		}
	}
}

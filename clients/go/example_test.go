package tidings_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	tidings "tidings/clients/go"
)

// Order is a row of the table orders, with the columns that matter here.
type Order struct {
	ID    int64
	Total float64
}

func ExampleClient_Follow() {
	client := &tidings.Client{URL: "http://127.0.0.1:8080"}
	ctx := context.Background()
	for m, err := range client.Follow(ctx, tidings.Options{Channels: []string{"orders:42"}}) {
		if err != nil {
			log.Fatal(err) // ctx ended, or coming back makes no sense
		}
		switch m.Action() {
		case tidings.Added, tidings.Updated:
			var order Order
			if err := m.Decode(&order); err != nil {
				log.Fatal(err)
			}
			fmt.Println(order.ID, order.Total)
		case tidings.Deleted, tidings.Truncated:
			fmt.Println("gone", string(m.Data))
		}
	}
}

// A program that keeps the cursor with what it does goes on where it was, also after its own restart.
func ExampleClient_Follow_resume() {
	client := &tidings.Client{URL: "http://127.0.0.1:8080"}
	since, err := os.ReadFile("cursor")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		log.Fatal(err)
	}
	for m, err := range client.Follow(context.Background(), tidings.Options{Channels: []string{"orders"}, Since: string(since)}) {
		if err != nil {
			log.Fatal(err)
		}
		if m.Kind == tidings.Reset {
			log.Fatal("events are missing: load afresh, and begin without the cursor")
		}
		fmt.Println(m.Type) // what is to be done, best in one transaction with the cursor
		if m.Cursor != "" {
			if err := os.WriteFile("cursor", []byte(m.Cursor), 0o600); err != nil {
				log.Fatal(err)
			}
		}
	}
}

func ExampleTable() {
	client := &tidings.Client{URL: "http://127.0.0.1:8080"}
	orders := tidings.Table[int64, Order]{Channel: "orders", Key: func(o Order) int64 { return o.ID }}
	for m, err := range client.Follow(context.Background(), tidings.Options{Channels: []string{"orders"}, Rows: true}) {
		if err == nil {
			err = orders.Apply(m)
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(orders.Len(), "orders")
	}
}

// A token that a file has, which something else renews.
func ExampleClient_token() {
	client := &tidings.Client{
		URL: "https://live.example.com",
		Token: func(context.Context, tidings.Why) (string, error) {
			text, err := os.ReadFile("/run/secrets/token")
			return strings.TrimSpace(string(text)), err
		},
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	page, err := client.Load(ctx, "orders", tidings.LoadOptions{Limit: 10, Descending: true})
	var refused *tidings.Error
	switch {
	case errors.As(err, &refused) && refused.Code == tidings.CodeForbidden:
		fmt.Println("not for us:", refused.Message)
	case err != nil:
		log.Fatal(err)
	default:
		fmt.Println(len(page.Rows), "rows")
	}
}

// What breaks is waited out by itself, and may be shown.
func ExampleOptions_state() {
	client := &tidings.Client{URL: "http://127.0.0.1:8080"}
	options := tidings.Options{
		Channels: []string{"orders"},
		OnState: func(state tidings.State, err error) {
			var lost *tidings.Disconnected
			if errors.As(err, &lost) {
				log.Printf("%s: %s; trying again in %s", state, lost, lost.Wait)
				return
			}
			log.Print(state)
		},
	}
	for m, err := range client.Follow(context.Background(), options) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(m.Type)
	}
}

func ExampleMessage_Action() {
	m := tidings.Message{Kind: tidings.Event, Type: "order_updated", Data: []byte(`{"id":7,"total":12.5}`)}
	var order Order
	if err := m.Decode(&order); err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Action(), order.ID, order.Total)
	// Output: updated 7 12.5
}

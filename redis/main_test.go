package redis_test

import (
	"testing"

	"tidings/db/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

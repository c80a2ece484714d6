package redis_test

import (
	"testing"

	"go.uber.org/goleak"

	"tidings/db/dbtest"
)

func TestMain(m *testing.M) {
	// Its client looks once more at what it takes for a cluster, up to a second after a connection has ended.
	dbtest.Main(m, goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"))
}

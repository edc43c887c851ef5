package history_test

import (
	"testing"

	"github.com/semanode/sema/testcluster/history"
)

func TestLinearizable(t *testing.T) {
	for name, h := range map[string]struct {
		history.History
		kept     bool
		spurious bool
	}{
		"one after the other":                                        {told(acquired("x", 0, 1, 1), released("x", 2, 3, 1), acquired("y", 4, 5, 2)), true, false},
		"granted while somebody else holds":                          {told(acquired("x", 0, 1, 1), acquired("y", 2, 3, 2)), false, false},
		"granted while the release is under way":                     {told(acquired("x", 0, 1, 1), released("x", 2, 9, 1), acquired("y", 3, 4, 2)), true, false},
		"granted while a release is unknown":                         {told(acquired("x", 0, 1, 1), unknown(released("x", 2, 3, 1)), acquired("y", 5, 6, 2)), true, false},
		"granted while a release is pending":                         {told(acquired("x", 0, 1, 1), pending(released("x", 2, 3, 1)), acquired("y", 5, 6, 2)), true, false},
		"granted before the release began":                           {told(acquired("x", 0, 1, 1), acquired("y", 2, 3, 2), released("x", 4, 5, 1)), false, false},
		"granted in the instant of the release":                      {told(acquired("x", 0, 1, 1), released("x", 2, 2, 1), acquired("y", 2, 2, 2)), true, false},
		"granted in an instant that was before the release":          {history.History{Ops: numbered(told(acquired("x", 0, 1, 1), acquired("y", 2, 2, 2), released("x", 2, 2, 1)).Ops...)}, false, false},
		"granted in an instant that was after the release":           {history.History{Ops: numbered(told(acquired("x", 0, 1, 1), released("x", 2, 2, 1), acquired("y", 2, 2, 2)).Ops...)}, true, false},
		"a release that failed for certain":                          {told(acquired("x", 0, 1, 1), failing(released("x", 2, 3, 1), history.Other), acquired("y", 4, 5, 2)), false, false},
		"a release that was told not held ended it at its first try": {told(acquired("x", 0, 1, 1), failing(released("x", 2, 5, 1), history.NotHeld), acquired("y", 3, 4, 2)), true, false},
		"a release of what is gone":                                  {told(acquired("x", 0, 1, 1), released("x", 2, 3, 1), acquired("y", 4, 5, 2), released("x", 6, 7, 1), found("z", 8, 9, 2)), true, false},
		"still there after its release":                              {told(acquired("x", 0, 1, 1), released("x", 2, 3, 1), found("y", 4, 5, 1)), false, false},
		"told not held while it holds":                               {told(acquired("x", 0, 1, 1), failing(released("x", 2, 3, 1), history.NotHeld), touched("x", 4, 5, 1)), false, false},

		"a client gives up whatever it has": {told(acquired("x", 0, 1, 1), released("x", 2, 3, 0), acquired("y", 2, 3, 2)), true, false},
		"another gives up whatever it has":  {told(acquired("x", 0, 1, 1), released("y", 2, 3, 0), acquired("y", 2, 3, 2)), false, false},

		"expired in time":                                     {told(acquired("x", 0, 1, 1), forced("y", 9, 9.9, 1), acquired("y", 9.95, 10, 2)), true, false},
		"expired too early":                                   {told(acquired("x", 0, 1, 1), forced("y", 9, 9.8, 1)), false, false},
		"expired too early after a touch":                     {told(acquired("x", 0, 1, 1), touched("x", 5, 6, 1), forced("y", 13, 14, 1)), false, false},
		"expired in time after a touch":                       {told(acquired("x", 0, 1, 1), touched("x", 5, 6, 1), forced("y", 13, 15, 1)), true, false},
		"expired in time after a touch of unknown outcome":    {told(acquired("x", 0, 1, 1), unknown(touched("x", 5, 6, 1)), forced("y", 9, 10, 1)), true, false},
		"expired too early by the handle's deadline":          {with(told(acquired("x", 0, 1, 1), forced("y", 13, 14, 1)), lostHandle(1, "x", 1, 1, 20, 20)), false, false},
		"taken as soon as a handle was done with it":          {with(told(acquired("x", 0, 1, 1), acquired("y", 4, 5, 2)), handle(1, "x", 1, 1, 3)), true, false},
		"expired by two":                                      {told(acquired("x", 0, 1, 1), forced("y", 11, 12, 1), forced("z", 11, 12, 1)), false, false},
		"a release under way is no reason to call it overdue": {told(acquired("x", 0, 1, 1), released("x", 2, 5, 1), forced("y", 3, 4, 1)), false, false},
		"taken before it was ended as overdue":                {told(acquired("x", 0, 1, 1), acquired("z", 10, 11, 2), forced("y", 12, 13, 1)), false, false},
		"not held yet":                                        {told(failing(touched("x", 0, 1, 1), history.NotHeld), acquired("x", 2, 3, 1)), true, false},
		"overdue and touched late":                            {told(acquired("x", 0, 1, 1), touched("x", 15, 16, 1), refused("y", 16, 17, 1)), true, false},
		"overdue, taken and touched late":                     {told(acquired("x", 0, 1, 1), acquired("y", 12, 13, 2), touched("x", 15, 16, 1)), false, false},
		"a touch finds it gone too early":                     {told(acquired("x", 0, 1, 1), failing(touched("x", 5, 6, 1), history.NotHeld)), false, false},
		"a touch finds it gone":                               {told(acquired("x", 0, 1, 1), failing(touched("x", 5, 9.9, 1), history.NotHeld)), true, false},
		"gone for one and there for another":                  {told(acquired("x", 0, 1, 1), failing(touched("x", 10, 11, 1), history.NotHeld), found("y", 12, 13, 1)), false, false},

		"ended by force":                    {told(acquired("x", 0, 1, 1), used("z", 2, 3, 1), acquired("y", 4, 5, 2)), true, false},
		"ended by force twice":              {told(acquired("x", 0, 1, 1), used("z", 2, 3, 1), used("z", 4, 5, 1), acquired("y", 6, 7, 2)), true, false},
		"there after it was ended by force": {told(acquired("x", 0, 1, 1), used("z", 2, 3, 1), touched("x", 4, 5, 1)), false, false},
		"force that found nobody":           {told(acquired("x", 0, 1, 1), failing(used("z", 2, 3, 1), history.NotFound)), true, false},
		"force of somebody else's hold":     {told(acquired("x", 0, 1, 1), used("z", 2, 3, 7), nobody("y", 4, 5)), false, false},

		"free in the meantime":                 {told(acquired("x", 0, 1, 1), released("x", 2, 3, 1), meantime("y", 2, 3)), true, false},
		"free in the meantime, and it was not": {told(acquired("x", 0, 1, 1), meantime("y", 2, 3), found("z", 4, 5, 1)), false, false},
		"free between two holds":               {told(acquired("x", 0, 1, 1), released("x", 2, 4, 1), waited("y", 1, 4, 2), nobody("z", 3, 4)), true, false},
		"free before the first hold":           {told(nobody("z", 0, 1), acquired("x", 0, 2, 1), nobody("z", 0, 3)), true, false},
		"free while held":                      {told(acquired("x", 0, 1, 1), nobody("z", 2, 3)), false, false},
		"free in one of two gaps":              {told(waited("x", 0, 9, 1), waited("y", 0, 9, 2), unknown(released("x", 1, 2, 1)), unknown(released("y", 1, 2, 2)), nobody("z", 3, 4), nobody("z", 5, 6)), true, false},
		"free in too many gaps":                {told(waited("x", 0, 9, 1), unknown(released("x", 0, 2, 1)), found("z", 1, 2, 1), nobody("z", 3, 4), found("z", 5, 6, 1)), false, false},

		"an unknown acquire shows up":                 {told(unknown(acquired("x", 0, 1, 0)), of(1, found("y", 5, 6, 1)), nobody("y", 7, 8)), true, false},
		"an unknown acquire shows up twice":           {told(unknown(acquired("x", 0, 1, 0)), of(1, found("y", 5, 6, 1)), nobody("y", 7, 8), of(1, found("y", 9, 10, 1))), false, false},
		"an unknown acquire shows up before it began": {told(of(2, found("y", 0, 1, 1)), unknown(acquired("x", 2, 3, 0))), false, false},
		"a pending wait is granted":                   {told(acquired("x", 0, 1, 1), pending(waited("y", 1, 9, 0)), released("x", 2, 3, 1), of(2, refused("z", 4, 5, 2))), true, false},
		"a wait that gave up was granted meanwhile":   {told(failing(waited("x", 0, 9, 0), history.Other), of(1, found("y", 5, 6, 1)), acquired("z", 10, 11, 2)), true, false},
		"a wait that gave up is granted later":        {told(failing(waited("x", 0, 9, 0), history.Other), of(1, found("y", 10, 11, 1))), false, false},
		"granted twice, and only the second was told": {told(of(2, found("y", 2, 3, 1)), acquired("x", 0, 9, 2)), true, false},
		"granted once more after the answer":          {told(acquired("x", 0, 1, 1), released("x", 2, 3, 1), of(1, found("y", 10, 11, 2))), false, false},

		"handed over before the next holder was told": {told(acquired("x", 0, 1, 1), waited("y", 1, 9, 2), released("x", 2, 3, 1), refused("z", 4, 5, 2)), true, false},
		"refused with who comes later":                {told(acquired("x", 0, 1, 1), waited("y", 1, 9, 2), refused("z", 4, 5, 2), released("x", 6, 7, 1)), false, false},
		"refused with who was before":                 {told(acquired("x", 0, 1, 1), released("x", 2, 3, 1), acquired("y", 4, 5, 2), refused("z", 6, 7, 1)), false, false},
		"refused from memory with who was before":     {told(acquired("x", 0, 1, 1), released("x", 2, 3, 1), acquired("y", 4, 5, 2), refused("z", 6, 7, 1)), true, true},
		"refused from memory with who comes later":    {told(acquired("x", 0, 1, 1), waited("y", 1, 9, 2), refused("z", 4, 5, 2), released("x", 6, 7, 1)), false, true},
		"refused by a hold that nobody asked for":     {told(of(9, refused("z", 6, 7, 1)), acquired("x", 8, 9, 2)), true, false},

		"a stale answer of the past":     {told(acquired("x", 0, 1, 1), released("x", 2, 3, 1), stale("y", 8, 9, 1), nobody("y", 9, 10)), true, false},
		"a stale answer of the future":   {told(acquired("x", 0, 1, 1), stale("y", 2, 3, 2), released("x", 4, 5, 1), acquired("y", 6, 7, 2)), false, false},
		"a get of the past":              {told(acquired("x", 0, 1, 1), released("x", 2, 3, 1), acquired("y", 4, 5, 2), found("z", 8, 9, 1)), false, false},
		"tokens that fall":               {told(acquired("x", 0, 1, 2), released("x", 2, 3, 2), acquired("y", 4, 5, 1)), false, false},
		"one token twice":                {told(acquired("x", 0, 1, 1), released("x", 2, 3, 1), acquired("y", 4, 5, 1)), false, false},
		"each name has holds of its own": {told(acquired("x", 0, 1, 1), on("b", acquired("y", 2, 3, 2)), found("z", 4, 5, 1), on("b", found("z", 4, 5, 2))), true, false},
		"nothing at all":                 {told(), true, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := history.Linearizable(h.History, nil, history.Limits{SpuriousRefusals: h.spurious})
			if h.kept {
				expect(t, r)
			} else {
				expect(t, r, "linearizable")
			}
		})
	}
}

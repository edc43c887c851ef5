package fsm

import "github.com/tidwall/btree"

// table holds values twice: by key in a map, for the commands, and in order of
// key in a tree that copies on write, for snapshots and lists. A command that
// only looks a value up, or changes it in place, pays for the map alone.
type table[K comparable, V any] struct {
	byKey map[K]V
	tree  rows[K, V]
}

// rows are in ascending order of key.
type rows[K comparable, V any] = *btree.BTreeG[row[K, V]]

type row[K comparable, V any] struct {
	key   K
	value V
}

func newTable[K comparable, V any](less func(a, b row[K, V]) bool) table[K, V] {
	return table[K, V]{byKey: map[K]V{}, tree: newRows(less)}
}

func newRows[K comparable, V any](less func(a, b row[K, V]) bool) rows[K, V] {
	return btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})
}

func (t table[K, V]) get(key K) (V, bool) {
	value, ok := t.byKey[key]
	return value, ok
}

func (t table[K, V]) len() int { return len(t.byKey) }

func (t table[K, V]) set(key K, value V) {
	t.byKey[key] = value
	t.tree.Set(row[K, V]{key, value})
}

// load puts in a key above all others, which get and len do not know before index.
func (t table[K, V]) load(key K, value V) { t.tree.Load(row[K, V]{key, value}) }

// index is called once after all loads: a map that is made for so many grows no more.
func (t *table[K, V]) index() {
	t.byKey = make(map[K]V, t.tree.Len())
	t.tree.Scan(func(r row[K, V]) bool {
		t.byKey[r.key] = r.value
		return true
	})
}

func (t table[K, V]) delete(key K) {
	delete(t.byKey, key)
	t.tree.Delete(row[K, V]{key: key})
}

// capture returns the rows as they are, for as long as it takes.
func (t table[K, V]) capture() rows[K, V] { return t.tree.Copy() }

// ascend visits the rows from a key on, in order, until visit returns false.
func (t table[K, V]) ascend(from K, visit func(K, V) bool) {
	t.tree.Ascend(row[K, V]{key: from}, func(r row[K, V]) bool { return visit(r.key, r.value) })
}

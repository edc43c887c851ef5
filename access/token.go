package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"strings"

	"github.com/semanode/sema"
)

// The layout of a token: "sema_", and in base64url without padding 32 random bytes and the
// CRC-32C of them, big endian. The prefix lets scanners find tokens where they do not
// belong, the checksum tells a token that was cut off from one that was withdrawn.
const (
	tokenPrefix = "sema_"
	secretBytes = 32
	tokenBytes  = secretBytes + 4
	// tokenLength is that of every token's text.
	tokenLength = len(tokenPrefix) + (tokenBytes*8+5)/6
	hashPrefix  = "sha256:"
)

var (
	tokenEncoding = base64.RawURLEncoding.Strict()
	castagnoli    = crc32.MakeTable(crc32.Castagnoli)
)

// Token is the text of a token that is well formed.
type Token string

// NewToken makes a token from 256 random bits.
func NewToken() Token {
	var raw [tokenBytes]byte
	rand.Read(raw[:secretBytes]) // never fails
	binary.BigEndian.PutUint32(raw[secretBytes:], crc32.Checksum(raw[:secretBytes], castagnoli))
	return Token(tokenPrefix + tokenEncoding.EncodeToString(raw[:]))
}

// ParseToken checks the form of a token. The error never has the text: it could be
// logged, and a secret with a typo is still nearly one.
func ParseToken(text string) (Token, error) {
	var raw [tokenBytes + 3]byte // what Decode may write
	if len(text) == tokenLength && strings.HasPrefix(text, tokenPrefix) {
		n, err := tokenEncoding.Decode(raw[:], []byte(text[len(tokenPrefix):]))
		if err == nil && n == tokenBytes && binary.BigEndian.Uint32(raw[secretBytes:]) == crc32.Checksum(raw[:secretBytes], castagnoli) {
			return Token(text), nil
		}
	}
	return "", &sema.InvalidError{Field: "token", Value: "(not shown)", Limit: `one that "semanode token new" has made: sema_ and 48 characters, complete`}
}

// Hash is what the access file has of a token.
func (t Token) Hash() Hash { return sha256.Sum256([]byte(t)) }

// Hash is the SHA-256 of a token's text.
type Hash [sha256.Size]byte

// String returns the hash as the access file has it.
func (h Hash) String() string { return hashPrefix + hex.EncodeToString(h[:]) }

// ParseHash is the inverse of String.
func ParseHash(text string) (h Hash, ok bool) {
	digits, found := strings.CutPrefix(text, hashPrefix)
	if !found || len(digits) != hex.EncodedLen(len(h)) || strings.ToLower(digits) != digits {
		return Hash{}, false
	}
	n, err := hex.Decode(h[:], []byte(digits))
	return h, err == nil && n == len(h)
}

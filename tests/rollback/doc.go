// Package rollback holds the tests of what happens when files of a state
// directory are put back as they were: which older copies are told from the
// newest, up to which point none is, that no crash is taken for one, and that two
// copies that both go on never use a nonce for two messages.
//
// The tests play somebody who has the disk between two boots of the whole
// system, and know the files' names but not their forms, except where they look
// for nonces.
package rollback

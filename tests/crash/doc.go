// Package crash cuts the power of the whole system at every call of the disk
// that a long script makes, with every loss that a disk can suffer, and has every
// such call fail: what was acknowledged is there afterwards, and what is there is
// what the script had done up to some point. docs/spec/crash.md says what is
// modelled and what is not.
package crash

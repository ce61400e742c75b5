//go:build goexperiment.runtimesecret

package secret

import "runtime/secret"

func erased(f func()) { secret.Do(f) }

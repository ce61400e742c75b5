package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestExplored(t *testing.T) {
	for _, c := range []struct {
		out    string
		status int
		want   finding
		fails  bool
	}{
		{out: `{"seeds":400,"failed":false,"seed":0,"check":"","text":""}` + "\n", want: finding{Seeds: 400}},
		{
			out:    "seed 17\n" + `{"seeds":17,"failed":true,"seed":17,"check":"durable","text":"gone"}` + "\n\n",
			status: 1, want: finding{Seeds: 17, Failed: true, Seed: 17, Check: "durable", Text: "gone"},
		},
		{out: `{"seeds":1,"failed":true,"seed":18446744073709551615,"check":"x"}`, status: 1,
			want: finding{Seeds: 1, Failed: true, Seed: 1<<64 - 1, Check: "x"}},
		{out: `{"seeds":17,"failed":true,"seed":17,"check":"durable"}`, fails: true},
		{out: `{"seeds":400,"failed":false}`, status: 1, fails: true},
		{out: `{"seeds":17,"failed":true,"seed":17,"check":"durable"}`, status: 2, fails: true},
		{out: `{"seeds":17,"failed":true,"seed":17}`, status: 1, fails: true},
		{out: "no command is called \"explore\"\n", status: 1, fails: true},
		{out: "", fails: true},
	} {
		got, err := explored(result{status: c.status, out: []byte(c.out)})
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("%q with status %d: %+v, %v", c.out, c.status, got, err)
		}
	}
}

func TestFirstFailure(t *testing.T) {
	for _, c := range []struct {
		out, want string
	}{
		{"--- FAIL: TestOne (0.01s)\n    x_test.go:3: no\n--- FAIL: TestTwo (0.00s)\nFAIL\n", "TestOne"},
		{"    --- FAIL: TestOne/part (0.00s)\n--- FAIL: TestTwo (0.00s)\n", "TestTwo"},
		{"--- FAIL: TestOne (0.00s)\npanic: no [recovered]\n", "TestOne"},
		{"panic: test timed out after 2m0s\n\trunning tests:\n\t\tTestSlow (2m0s)\n\ngoroutine 1\n", "TestSlow hangs"},
		{"panic: no\n\ngoroutine 7 [running]:\n", "panic"},
		{"fatal error: all goroutines are asleep - deadlock!\n", "panic"},
		{"FAIL\tnexus.internal/os/ipc [build failed]\n", ""},
		{"FAIL\tnexus.internal/os/ipc [setup failed]\n", ""},
		{"go: no such package\n", ""},
	} {
		got, err := firstFailure(result{status: 1, out: []byte(c.out)})
		if got != c.want || errors.Is(err, errNoVerdict) != (c.want == "") {
			t.Errorf("%q: %q, %v", c.out, got, err)
		}
	}
}

func TestLines(t *testing.T) {
	for _, c := range []struct {
		v      verdict
		want   string
		caught bool
	}{
		{verdict{seeds: 17, check: "durable", took: 2100 * time.Millisecond}, "01-x  caught by exploration (durable) after 17 seeds, 3 s", true},
		{verdict{seeds: 1, check: "durable", took: time.Second}, "01-x  caught by exploration (durable) after 1 seed, 1 s", true},
		{verdict{seeds: 400, tested: []string{"./a", "./b"}, pkg: "./b", test: "TestB", took: time.Second},
			"01-x  caught by tests ./b (TestB), 1 s", true},
		{verdict{seeds: 17, check: "durable", tested: []string{"./b"}, pkg: "./b", test: "TestB", took: time.Second},
			"01-x  caught by exploration (durable) after 17 seeds and by tests ./b (TestB), 1 s", true},
		{verdict{seeds: 400, tested: []string{"./a", "./b"}, took: time.Minute}, "01-x  NOT CAUGHT after 400 seeds and tests of ./a ./b, 60 s", false},
		{verdict{seeds: 400, took: time.Second}, "01-x  NOT CAUGHT after 400 seeds and no tests, 1 s", false},
		{verdict{seeds: 17, check: "durable", err: errors.New("does not\nbuild")}, "01-x  ERROR: does not; build", false},
	} {
		if got := strings.Replace(line("01-x", 4, c.v), "   ", "  ", 1); got != c.want || c.v.caught() != c.caught {
			t.Errorf("%q, caught %v; want %q", got, c.v.caught(), c.want)
		}
	}
}

// TestExecute: a status is an answer, and everything is bounded.
func TestExecute(t *testing.T) {
	j := job{dir: t.TempDir(), limit: time.Minute, name: "git", args: []string{"no-such-command"}}
	if r, err := execute(t.Context(), j); err != nil || r.status == 0 || !strings.Contains(r.failure("git").Error(), "no-such-command") {
		t.Errorf("%+v, %v", r, err)
	}
	j.name = "no-such-binary"
	if _, err := execute(t.Context(), j); err == nil {
		t.Error("a binary that does not exist has run")
	}
	// The shell's child holds the output open: it has to die as well.
	j = job{dir: t.TempDir(), limit: 50 * time.Millisecond, name: "sh", args: []string{"-c", "sleep 60; true"}}
	start := time.Now()
	if _, err := execute(t.Context(), j); err == nil || !strings.Contains(err.Error(), "did not end") {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	j.limit = time.Minute
	if _, err := execute(ctx, j); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if took := time.Since(start); took > grace {
		t.Errorf("it took %v", took)
	}
}

func TestFlags(t *testing.T) {
	cfg, err := parseFlags([]string{"--seeds", "7", "--all", "--keep", "01-a"}, nil)
	if err != nil || cfg.seeds != 7 || !cfg.all || !cfg.keep || len(cfg.names) != 1 {
		t.Errorf("%+v, %v", cfg, err)
	}
	for _, args := range []string{"--seeds 0", "--seeds x", "--only (", "--what"} {
		if _, err := parseFlags(strings.Fields(args), nil); !errors.Is(err, errUsage) {
			t.Errorf("%s: error %v", args, err)
		}
	}
}

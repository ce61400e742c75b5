package rules

// A row says what one package may import beyond the standard library: paths
// below the module, and third-party ones in full. "..." alone is every package
// of the module outside cmd and tests. Tests beside the code may import what
// they like; the packages below tests have rows of their own. The doors below
// hold for tests too where they say so.
type row struct {
	pkg, may, why string
}

// handler is what every service that serves apps, and their client, is written with.
const handler = "ipc ipc/wire capability services/secret google.golang.org/protobuf/proto"

var table = []row{
	{"capability", "",
		"rights, tables and the token's bytes need nobody"},
	{"ipc/frame", "",
		"the bytes of the target OS's messages"},
	{"ipc/inbox", "capability ipc ipc/frame",
		"a client that tells answers apart"},
	{"ipc", "capability ipc/frame",
		"the router sees bytes only"},
	{"ipc/wire", "ipc google.golang.org/protobuf/...",
		"what the bytes mean, for the two ends"},
	{"actors", "ipc github.com/asynkron/protoactor-go/...",
		"runs the kernel, and is no part of its promises"},
	{"actors/seeded", "ipc actors",
		"the same order of events for the same seed"},

	{"services/secret", "golang.org/x/sys/unix",
		"everybody's, so it knows nobody"},
	{"services/statefsd/disk", "golang.org/x/sys/unix",
		"the real disk knows no messages"},
	{"services/statefsd/simdisk", "services/statefsd/disk",
		"another disk behind the same interface"},
	{"services/statefsd/faultdisk", "services/statefsd/disk services/statefsd/simdisk",
		"the same faults for any disk"},
	{"services/statefsd/bootrec", "services/statefsd/disk",
		"is read before there is a kernel"},
	{"services/statefsd", "ipc ipc/wire services/statefsd/disk",
		"serves a disk, whichever it is"},
	{"services/rngd", "ipc ipc/wire",
		"chance, and nothing else"},
	{"services/policyd", handler + " github.com/BurntSushi/toml",
		"a handler that reads TOML"},
	{"services/epochs", "",
		"where a user's files are: paths, and nothing that reads them"},
	{"services/identityd/userdb", "capability",
		"the user database's bytes: a core without messages or files"},
	{"services/identityd/argon2id", "services/secret golang.org/x/crypto/blake2b",
		"stretches passwords in memory that is wiped"},
	{"services/identityd/guesses", "",
		"the bytes of what is counted: a core without messages, files or clock"},
	{"services/identityd/recovery", "services/secret",
		"how a recovery key is written down"},
	{"services/identityd", handler + " services/identityd/guesses services/identityd/userdb services/identityd/argon2id services/identityd/recovery",
		"a handler that stretches passwords"},
	{"services/keymintd/primitive", "services/secret golang.org/x/crypto/chacha20 golang.org/x/crypto/poly1305 filippo.io/edwards25519",
		"ciphers and signatures that leave no copy of a key"},
	{"services/keymintd", handler + " services/epochs services/keymintd/primitive",
		"a handler, and the only one with ciphers"},
	{"services/keystored/vault", "",
		"the vault's bytes: a core without messages, files or ciphers"},
	{"services/keystored/ks1", "",
		"the target OS's bytes for keystored: they need nobody"},
	{"services/keystored", handler + " services/epochs services/keystored/vault services/keystored/ks1",
		"a handler; whatever it stores, keymintd sealed"},
	{"services/keychain", handler,
		"a client holds a token and knows the wire, never the server"},

	{"cmd/boot", "... google.golang.org/protobuf/proto",
		"puts everything together"},
	{"cmd/machine", "cmd/boot actors ipc services/statefsd/disk services/statefsd/simdisk services/statefsd/faultdisk",
		"a disk, a power switch and faults around a boot"},
	{"cmd/audit", "ipc ipc/wire capability services/policyd",
		"turns two kinds of records into lines and words"},
	{"cmd/script", "cmd/audit cmd/boot cmd/machine ipc ipc/wire capability services/keychain services/secret services/statefsd/simdisk",
		"does what a launcher and its apps can, and what can be done to a machine"},
	{"cmd/oracle", "cmd/boot cmd/machine cmd/script ipc ipc/wire services/keystored/vault github.com/anishathalye/porcupine google.golang.org/protobuf/proto",
		"watches and judges; of the vault it knows the quotas, of frames what they ask for"},
	{"cmd/scenario", "cmd/boot cmd/machine cmd/oracle cmd/script actors actors/seeded ipc services/identityd services/rngd " +
		"services/keystored/vault github.com/BurntSushi/toml golang.org/x/tools/txtar",
		"reads a file, sets a stage, plays it"},
	{"cmd/explore", "cmd/boot cmd/machine cmd/oracle cmd/scenario cmd/script actors/seeded ipc services/rngd",
		"makes up scenarios and plays them"},
	{"cmd/crash", "",
		"the file of an input that fails, and who runs it"},
	{"cmd/adversary", "capability cmd/boot cmd/crash cmd/scenario ipc/wire services/rngd",
		"makes bytes into scenarios; of the system it knows the names"},
	{"cmd/trace", "cmd/script ipc ipc/wire capability",
		"writes down what happened, and draws it"},
	{"cmd/nexus-sim", "cmd/fsck services/identityd/userdb cmd/adversary cmd/audit cmd/boot cmd/crash cmd/explore cmd/machine cmd/scenario cmd/script cmd/trace services/statefsd/disk " +
		"tests/modelrun services/secret golang.org/x/sys/unix golang.org/x/term " + naming,
		"flags and output: it opens the disk, hands it to boot, and says in words what came of it; " +
			"kept disagreements are replayed by what finds them, tests/modelrun, which the doors hold for therefore"},

	{"cmd/fsck", "ipc ipc/wire services/epochs services/identityd services/identityd/guesses services/identityd/userdb services/keymintd services/keystored/vault services/secret services/statefsd/bootrec",
		"reads files that somebody else has read, with the services' own codecs"},
	{"tests/flips", "cmd/boot cmd/fsck ipc/wire services/identityd services/identityd/userdb services/secret services/statefsd/simdisk",
		"changes every byte of a state directory"},
	{"tests/residue", "services/identityd/userdb tests/scan golang.org/x/crypto/argon2 golang.org/x/sys/unix",
		"looks into a process of the shipped binary; the second implementation of all keys is in Python"},
	{"tests/crash", "... cmd/boot",
		"cuts the power of the whole system, and knows nothing of it but its calls of the disk"},
	{"tests/scan", "",
		"reads the memory of another process, whatever that is"},
	{"tests/rig", "ipc capability actors actors/seeded",
		"small systems for tests of single packages, so it knows no service"},
	{"tests/ui_v18b_host", "... cmd/boot tests/rig google.golang.org/protobuf/proto",
		"proves things of the whole system, with nothing but the system"},
	{"tests/rollback", "actors actors/seeded cmd/boot cmd/machine cmd/script ipc ipc/wire services/identityd services/rngd services/statefsd/disk services/statefsd/simdisk golang.org/x/crypto/...",
		"puts files back between boots of the whole system"},
	{"tests/flood", "... cmd/boot",
		"floods the whole system, with nothing but the system"},
	{"tests/scenarios", "... cmd/boot cmd/explore cmd/machine cmd/scenario",
		"plays every scenario that is shipped"},
	{"tests/fuzz", "cmd/adversary cmd/crash cmd/scenario services/rngd tests/modelrun",
		"runs live targets on what a fuzzer makes up"},
	{"tests/pictures", "cmd/boot cmd/scenario cmd/trace services/rngd",
		"draws what the documents show"},
	{"tests/hellod", "cmd/boot cmd/machine cmd/scenario cmd/script ipc ipc/wire services/identityd services/rngd services/statefsd " +
		"google.golang.org/protobuf/...",
		"a daemon that is not the system's, as docs/HACKING.md shows it, and its tests"},
	{"tests/model", "ipc capability ipc/frame",
		"says what the kernel does; of its code it knows names of constants only"},
	{"tests/modelrun", "ipc capability ipc/frame actors actors/seeded cmd/crash tests/model pgregory.net/rapid",
		"drives kernel and model with the same operations"},
	{"tests/conform", "ipc cmd/boot cmd/explore cmd/machine cmd/scenario services/rngd",
		"follows the traces of whole boots; the checker itself knows the kernel's events only"},
	{"tests/mutants", "",
		"runs git and go on copies of the sources"},
	{"tests/vectors", "",
		"hands out the vectors, and knows no format"},
	{"tests/vectors/state", "actors actors/seeded cmd/boot cmd/machine cmd/script ipc ipc/wire services/identityd services/rngd services/statefsd/bootrec",
		"makes whole disks and reads them back, with the system and without"},
	{"tests/vectors/gen", "",
		"another implementation of the formats, so it uses none of theirs"},
	{"tests/rules", "",
		"reads sources only"},
}

// naming is what an error and the mode of the build have their names from.
const naming = "ipc ipc/wire services/identityd services/policyd services/rngd services/statefsd/bootrec"

// A door is something of which only some packages may make use. It names
// import paths (…/... is the tree), or names used through an import, or one of
// the words of usesOf. open lists packages and single files; a package ending
// in /... is the tree. Unless testsToo is set, test files may use it anyway, and
// so may packages below tests/ that no other row lets into a binary.
type door struct {
	imports  string
	uses     string
	open     string
	testsToo bool
	why      string
}

// protoWork is what protobuf's package proto does with a message.
const protoWork = "google.golang.org/protobuf/proto.Marshal google.golang.org/protobuf/proto.MarshalOptions " +
	"google.golang.org/protobuf/proto.Unmarshal google.golang.org/protobuf/proto.UnmarshalOptions " +
	"google.golang.org/protobuf/proto.Clone google.golang.org/protobuf/proto.CloneOf google.golang.org/protobuf/proto.Merge"

var doors = []door{
	{imports: "github.com/asynkron/protoactor-go/...", open: "actors", testsToo: true,
		why: "protoactor-go is the engine, not the security boundary"},
	{uses: protoWork, open: "ipc/wire",
		why: "wire alone encodes, decodes and wipes; elsewhere proto.Message is the name of a type"},
	{imports: "google.golang.org/protobuf/encoding/...", testsToo: true,
		why: "wire messages are never formatted: they carry secrets"},

	{imports: "crypto/rand hash/maphash", open: "services/rngd",
		why: "rngd is the only source of chance"},
	{imports: "math/rand math/rand/v2", open: "services/rngd actors/seeded",
		why: "only the seeded order and the seeded stream are reproducible on purpose"},
	{uses: "crypto/ed25519.GenerateKey", open: "",
		why: "it draws its own chance; take a seed from rngd"},

	{imports: "os os/... io/ioutil syscall", open: "services/statefsd/disk cmd/nexus-sim",
		why: "only the disk touches files, and the command its arguments"},
	{uses: "path/filepath.Abs path/filepath.EvalSymlinks path/filepath.Glob path/filepath.Walk path/filepath.WalkDir",
		open: "services/statefsd/disk cmd/nexus-sim",
		why:  "only the disk touches files, and the command its arguments"},
	{imports: "net net/... plugin", open: "",
		why: "nothing reaches the system but through the router"},

	{uses: "time.Now time.Since time.Until time.Sleep time.After time.AfterFunc time.Tick time.NewTimer time.NewTicker",
		open: "actors cmd/nexus-sim",
		why:  "the kernel is the only clock"},
	{uses: "context.WithTimeout context.WithTimeoutCause context.WithDeadline context.WithDeadlineCause",
		open: "actors cmd/nexus-sim ipc/fiber.go",
		why:  "deadlines come from the task, in the kernel's time"},
	{uses: "go sync.WaitGroup time.AfterFunc context.AfterFunc", open: "actors cmd/explore cmd/nexus-sim",
		why: "who runs when is the executor's"},
	{uses: "iter.Pull iter.Pull2", open: "ipc actors actors/seeded",
		why: "who parks is the kernel's"},

	{imports: "nexus.internal/os/services/keymintd/primitive", open: "services/keymintd/aead.go",
		why: "ciphers and key derivation stand in one small file, with the argument why they are safe"},
	{imports: "golang.org/x/crypto/chacha20 golang.org/x/crypto/poly1305 filippo.io/edwards25519", open: "services/keymintd/primitive",
		why: "parts of ciphers are no ciphers"},
	{imports: "golang.org/x/crypto/chacha20poly1305 crypto/cipher crypto/aes crypto/hkdf", open: "",
		why: "they keep keys where nobody can wipe them; services/keymintd/primitive does not"},
	{uses: "crypto/ed25519.Sign crypto/ed25519.PrivateKey crypto/ed25519.NewKeyFromSeed", open: "",
		why: "no private key outside keymintd, and none in that package's cache; verifying is open to all"},
	{imports: "nexus.internal/os/services/identityd/argon2id", open: "services/identityd/stretch.go",
		why: "passwords are identityd's"},
	{imports: "golang.org/x/crypto/argon2", open: "",
		why: "it leaves the password on the heap"},

	{imports: "log log/...", open: "actors services/secret",
		why: "an error is returned, a proof is a marker; actors silences protoactor's log, a secret prints as redacted"},
	{uses: "fmt.Print fmt.Printf fmt.Println print println", open: "",
		why: "the console is the kernel's; the command writes to the streams that it was given"},
	{imports: "flag", open: "cmd/nexus-sim",
		why: "the command line is the command's"},
	{imports: "testing testing/... pgregory.net/rapid", open: "",
		why: "what runs does not ask whether it is tested"},
	{imports: "unsafe C", uses: "go:linkname", open: "", testsToo: true,
		why: "a capability is only as good as the language's"},
	{uses: "dot-import", open: "", testsToo: true,
		why: "a name must say where it comes from, here too"},
}

// Build tags that a file may ask for, and who may ask for the insecure mode.
const (
	insecureTag  = "insecure_deterministic"
	insecureOpen = "services/rngd cmd/boot cmd/explore cmd/nexus-sim tests/..."
	otherTags    = "linux amd64 arm64 race"
)

// Limits of tidiness.
const (
	// The one file with a check switched off: Poly1305 is deprecated in favour
	// of ciphers that keep their keys on the heap.
	suppressedIn = "services/keymintd/primitive/xchacha.go"

	maxLines    = 450     // of a file that was written by hand and is no test
	maxFileSize = 1 << 20 // bytes of any file in the repository
	vagueNames  = "util utils common helper helpers misc shared"
	generatedIn = "ipc/wire tests/hellod" // the only places of generated code
)

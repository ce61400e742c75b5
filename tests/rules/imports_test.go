package rules

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// checkImports holds every package against its row.
func checkImports(t *tree) (found []finding) {
	rows := make(map[string]row)
	for _, r := range table {
		rows[r.pkg] = r
	}
	seen := make(map[string]bool)
	for _, f := range t.files {
		if f.nested || f.test && !under(f.pkg, "tests/...") {
			continue
		}
		r, ok := rows[f.pkg]
		if !ok {
			if !seen[f.pkg] {
				found = append(found, f.finding(f.Name.Pos(), "package %s has no row in the table of imports", f.pkg))
			}
			seen[f.pkg] = true
			continue
		}
		seen[f.pkg] = true
		for _, spec := range f.Imports {
			target := t.below(importPath(spec))
			if !t.may(r, target) {
				found = append(found, f.finding(spec.Pos(), "%s may not import %s: %s", f.pkg, target, r.why))
			}
		}
	}
	for _, r := range table {
		if !seen[r.pkg] {
			found = append(found, finding{"tests/rules/table_test.go", 1, "the row of " + r.pkg + " is nobody's"})
		}
	}
	return found
}

// below takes the module's path off an import path of the module.
func (t *tree) below(target string) string {
	if rest, ok := strings.CutPrefix(target, t.module+"/"); ok {
		return "/" + rest
	}
	return target
}

// may says whether a row allows an import, of which the module's own start
// with a slash.
func (t *tree) may(r row, target string) bool {
	own, ok := strings.CutPrefix(target, "/")
	if !ok {
		host, _, _ := strings.Cut(target, "/")
		return !strings.Contains(host, ".") || among(target, r.may)
	}
	if among("...", r.may) && !among(own, "cmd/... tests/...") {
		return true
	}
	return among(own, r.may)
}

// checkDoors finds who goes through a door that is not open to him.
func checkDoors(t *tree) (found []finding) {
	for _, f := range t.files {
		if f.nested || f.generated() {
			continue
		}
		uses := usesOf(f)
		for _, d := range doors {
			if f.relaxed() && !d.testsToo || among(f.pkg, d.open) || among(f.path, d.open) {
				continue
			}
			for _, spec := range f.Imports {
				if target := importPath(spec); among(target, d.imports) {
					found = append(found, f.finding(spec.Pos(), "import of %s is only for [%s]: %s", target, d.open, d.why))
				}
			}
			for _, u := range uses {
				if slices.Contains(strings.Fields(d.uses), u.name) {
					found = append(found, f.finding(u.pos, "%s is only for [%s]: %s", u.name, d.open, d.why))
				}
			}
		}
	}
	return found
}

func importPath(spec *ast.ImportSpec) string {
	target, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return spec.Path.Value // The parser has refused it already.
	}
	return target
}

// A use is a name of another package, or of the language, that stands in a file.
type use struct {
	name string
	pos  token.Pos
}

// usesOf lists the names used through imports, as path.Name, whether called or
// not, and some words: "go" for the statement, "print" and "println" for the
// built-in functions, "dot-import" and "go:linkname".
func usesOf(f *file) (uses []use) {
	names := make(map[string]string)
	for _, spec := range f.Imports {
		target := importPath(spec)
		name := defaultName(target)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		if name == "." {
			uses = append(uses, use{"dot-import", spec.Pos()})
		}
		names[name] = target
	}
	for _, group := range f.Comments {
		for _, c := range group.List {
			if strings.HasPrefix(c.Text, "//go:linkname ") {
				uses = append(uses, use{"go:linkname", c.Pos()})
			}
		}
	}
	ast.Inspect(f.File, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			uses = append(uses, use{"go", n.Pos()})
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && names[x.Name] != "" {
				uses = append(uses, use{names[x.Name] + "." + n.Sel.Name, n.Pos()})
			}
		case *ast.CallExpr:
			if fun, ok := n.Fun.(*ast.Ident); ok && (fun.Name == "print" || fun.Name == "println") {
				uses = append(uses, use{fun.Name, n.Pos()})
			}
		}
		return true
	})
	return uses
}

var majorVersion = regexp.MustCompile(`^v[0-9]+$`)

// defaultName is what a package is called where its import does not say.
func defaultName(target string) string {
	if base := path.Base(target); !majorVersion.MatchString(base) {
		return base
	}
	return path.Base(path.Dir(target))
}

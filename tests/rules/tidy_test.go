package rules

import (
	"go/ast"
	"go/build/constraint"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

// checkTags finds build tags where they may not be: the insecure mode's outside
// its few files, and tags under which no check here ever builds.
func checkTags(t *tree) (found []finding) {
	for _, f := range t.files {
		for _, group := range f.Comments {
			for _, c := range group.List {
				if c.Pos() > f.Package || !constraint.IsGoBuild(c.Text) {
					continue
				}
				expr, err := constraint.Parse(c.Text)
				if err != nil {
					found = append(found, f.finding(c.Pos(), "build constraint: %v", err))
					continue
				}
				for _, tag := range tagsOf(expr) {
					switch {
					case tag == insecureTag && !among(f.pkg, insecureOpen):
						found = append(found, f.finding(c.Pos(), "build tag %s is only for [%s]", tag, insecureOpen))
					case tag != insecureTag && !among(tag, otherTags):
						found = append(found, f.finding(c.Pos(), "build tag %s: nothing would ever vet or test this file", tag))
					}
				}
			}
		}
	}
	return found
}

// tagsOf lists the tags of a constraint.
func tagsOf(expr constraint.Expr) []string {
	switch expr := expr.(type) {
	case *constraint.TagExpr:
		return []string{expr.Tag}
	case *constraint.NotExpr:
		return tagsOf(expr.X)
	case *constraint.AndExpr:
		return append(tagsOf(expr.X), tagsOf(expr.Y)...)
	case *constraint.OrExpr:
		return append(tagsOf(expr.X), tagsOf(expr.Y)...)
	}
	return nil
}

// suppression matches comments that tell a linter to look away.
var suppression = regexp.MustCompile(`^//\s*(nolint|lint:|#nosec|nosec)`)

// checkTidy holds files and packages against the limits of tidiness.
func checkTidy(t *tree) (found []finding) {
	found = append(found, checkPackages(t)...)
	for _, f := range t.files {
		if !f.test && !f.generated() && f.lines > maxLines {
			found = append(found, f.finding(f.Name.Pos(), "%d lines; at most %d", f.lines, maxLines))
		}
		if f.generated() && !among(f.pkg, generatedIn) {
			found = append(found, f.finding(f.Name.Pos(), "generated code is only for %s", generatedIn))
		}
		if strings.HasSuffix(f.path, ".pb.go") && !f.generated() {
			found = append(found, f.finding(f.Name.Pos(), "generated, but does not say so"))
		}
		for _, group := range f.Comments {
			for _, c := range group.List {
				if suppression.MatchString(c.Text) && f.path != suppressedIn {
					found = append(found, f.finding(c.Pos(), "%q: no check is switched off in the source", c.Text))
				}
			}
		}
	}
	return found
}

// checkPackages wants a telling name and a package comment, which a package of
// tests alone has in one of its tests.
func checkPackages(t *tree) (found []finding) {
	commented := make(map[string]bool)
	first := make(map[string]*file)
	for _, f := range t.files {
		old := first[f.pkg]
		if old == nil || old.test && !f.test {
			first[f.pkg] = f
		}
	}
	for _, f := range t.files {
		if f.test == first[f.pkg].test && opensWell(f) {
			commented[f.pkg] = true
		}
	}
	for pkg, f := range first {
		if !commented[pkg] {
			found = append(found, f.finding(f.Name.Pos(), "package %s has no comment that says what it is", pkg))
		}
		if among(path.Base(pkg), vagueNames) || among(f.Name.Name, vagueNames) {
			found = append(found, f.finding(f.Name.Pos(), "package %s: a name says what its package is for", pkg))
		}
	}
	return found
}

// opensWell says whether a file has a package comment in the usual form.
func opensWell(f *file) bool {
	want := "Package " + f.Name.Name + " "
	if f.Name.Name == "main" {
		want = ""
	}
	return f.Doc != nil && !isDirective(f.Doc) && strings.HasPrefix(f.Doc.Text(), want)
}

// isDirective says whether a comment group has no text of its own.
func isDirective(doc *ast.CommentGroup) bool { return strings.TrimSpace(doc.Text()) == "" }

// checkSizes finds files too big for a repository of sources.
func checkSizes(root fs.FS, names []string) (found []finding, err error) {
	for _, name := range names {
		info, err := fs.Stat(root, name)
		if err != nil {
			return nil, err
		}
		if info.Size() > maxFileSize {
			found = append(found, finding{name, 1, "over 1 MiB"})
		}
	}
	return found, nil
}

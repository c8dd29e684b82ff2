// Writes the table of the fields of Kubernetes' types that the sandbox decodes requests with (schema.txt), from the Go
// types themselves. To make it again, for the Kubernetes version of the testbed:
//
//	cd tests/testbed/control-plane && go run ../../../daemon/sandbox/schema/generate.go > ../../../daemon/sandbox/schema/schema.txt
package main

import (
	"fmt"
	"reflect"
	"strings"

	authorization "k8s.io/api/authorization/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Fields that the server takes from nobody on creation: whatever stands there is not looked at.
var unread = map[string]bool{"status": true, "managedFields": true}

var queue []reflect.Type
var queued = map[reflect.Type]bool{}

func main() {
	fmt.Print(head)
	for _, root := range []any{
		core.Pod{}, core.Namespace{}, core.Node{}, core.ResourceQuota{}, policy.Eviction{}, meta.DeleteOptions{},
		authorization.SelfSubjectAccessReview{},
	} {
		want(reflect.TypeOf(root))
	}
	for len(queue) > 0 {
		next := queue[0]
		queue = queue[1:]
		fmt.Println(next)
		fields(next)
	}
}

const head = `# The fields of Kubernetes' types, made by generate.go. A line of a type, then one of each of its fields:
#  NAME[?] KIND      ?: left out of an answer when it is empty
# KIND: s text, i integer, t truth value, b bytes, q quantity, T time, o integer or text, * not looked at,
#       {TYPE object, [KIND list, mKIND map; after s, i, [ and m the Go type in <>, where it has a name of its own
`

func fields(of reflect.Type) {
	for i := range of.NumField() {
		field := of.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous && name == "" {
			fields(field.Type)
			continue
		}
		optional := ""
		if strings.Contains(options, "omitempty") && field.Type.Kind() != reflect.Pointer && field.Type.Kind() != reflect.Struct {
			optional = "?"
		}
		if unread[name] {
			fmt.Printf(" %s %s\n", name, "*")
			continue
		}
		fmt.Printf(" %s%s %s\n", name, optional, kind(field.Type))
		want(field.Type)
	}
}

func want(a reflect.Type) {
	for a.Kind() == reflect.Pointer || a.Kind() == reflect.Slice || a.Kind() == reflect.Map {
		a = a.Elem()
	}
	if a.Kind() == reflect.Struct && !queued[a] && len(kind(a)) > 1 {
		queued[a] = true
		queue = append(queue, a)
	}
}

func kind(of reflect.Type) string {
	switch of {
	case reflect.TypeOf(resource.Quantity{}):
		return "q"
	case reflect.TypeOf(meta.Time{}), reflect.TypeOf(meta.MicroTime{}):
		return "T"
	case reflect.TypeOf(intstr.IntOrString{}):
		return "o"
	}
	named := ""
	if of.PkgPath() != "" || of.Kind() == reflect.Int32 || of.Kind() == reflect.Map && of.Key().PkgPath() != "" {
		named = "<" + of.String() + ">"
	}
	switch of.Kind() {
	case reflect.Pointer:
		return kind(of.Elem())
	case reflect.Struct:
		return "{" + of.String()
	case reflect.Slice:
		if of.Elem().Kind() == reflect.Uint8 {
			return "b"
		}
		return "[" + named + kind(of.Elem())
	case reflect.Map:
		return "m" + named + kind(of.Elem())
	case reflect.String:
		return "s" + named
	case reflect.Bool:
		return "t"
	default:
		return "i" + named
	}
}

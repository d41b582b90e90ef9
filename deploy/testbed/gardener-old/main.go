// Says what a Gardener from before v1.123 makes of a registration: the objects in the file are decoded strictly into its
// types, defaulted, and checked as its API server does. Prints them as it would store them, as one JSON list.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/gardener/gardener/pkg/apis/core"
	"github.com/gardener/gardener/pkg/apis/core/install"
	"github.com/gardener/gardener/pkg/apis/core/v1beta1"
	"github.com/gardener/gardener/pkg/apis/core/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/yaml"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("one file is expected")
	}
	content, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	install.Install(scheme)
	// To the internal version, with defaults; unknown and doubled fields are errors.
	codecs := serializer.NewCodecFactory(scheme, serializer.EnableStrict)
	decoder := codecs.UniversalDecoder(core.SchemeGroupVersion)
	encoder := codecs.LegacyCodec(v1beta1.SchemeGroupVersion)
	stored := []json.RawMessage{}
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return json.NewEncoder(os.Stdout).Encode(stored)
		}
		if err != nil {
			return err
		}
		// Before the first separator there may be comments alone.
		if parsed, err := yaml.ToJSON(document); err == nil && string(parsed) == "null" {
			continue
		}
		object, err := runtime.Decode(decoder, document)
		if err != nil {
			return err
		}
		if err := validate(object).ToAggregate(); err != nil {
			return err
		}
		text, err := runtime.Encode(encoder, object)
		if err != nil {
			return err
		}
		stored = append(stored, text)
	}
}

func validate(object runtime.Object) field.ErrorList {
	switch object := object.(type) {
	case *core.ControllerRegistration:
		return validation.ValidateControllerRegistration(object)
	case *core.ControllerDeployment:
		return validation.ValidateControllerDeployment(object)
	default:
		return field.ErrorList{field.InternalError(nil, fmt.Errorf("unexpected kind %T", object))}
	}
}

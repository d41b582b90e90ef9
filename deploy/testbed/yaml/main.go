// What does the daemon's YAML library read? Each line of standard input is a YAML text as a JSON string; for each comes a line with
// {"read": …} or {"error": "…"}. For `cargo xtask soak --only yaml-differential`.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"sigs.k8s.io/yaml"
)

func answer(line []byte) map[string]any {
	var text string
	if err := json.Unmarshal(line, &text); err != nil {
		return map[string]any{"error": "the question: " + err.Error()}
	}
	read, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return map[string]any{"error": err.Error()}
	}
	return map[string]any{"read": json.RawMessage(read)}
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<22)
	for lines.Scan() {
		answer, err := json.Marshal(answer(lines.Bytes()))
		if err != nil {
			answer = []byte(`{"error":"no answer"}`)
		}
		fmt.Println(string(answer))
	}
}

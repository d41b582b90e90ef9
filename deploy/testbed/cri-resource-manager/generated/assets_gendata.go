// Put beside the sources before the build in place of a generated file that the module
// archive lacks. The visualizer has no pages in this build.

package bubbles

import (
	"net/http"
	"os"
)

type empty struct{}

func (empty) Open(string) (http.File, error) { return nil, os.ErrNotExist }

// Assets is the (empty) file system of the visualizer.
var Assets http.FileSystem = empty{}

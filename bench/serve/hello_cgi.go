// The smallest program in Go that answers a request: by CGI, or as text on its standard input.
package main

import (
	"fmt"
	"io"
	"os"
)

func main() {
	io.Copy(io.Discard, os.Stdin)
	fmt.Print("Content-Type: text/plain\n\nhello, world\n")
}

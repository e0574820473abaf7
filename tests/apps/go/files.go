// tests/apps/go/files.go: files, goroutines and the library by Go, in a folder that is its first argument. It prints the same when it
// is built natively.
package main

import (
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}

// The name of the error that a call ends with.
func kind(err error) string {
	for _, known := range []syscall.Errno{syscall.ENOENT, syscall.EEXIST, syscall.ENOTDIR, syscall.EISDIR, syscall.ENOTEMPTY, syscall.EBADF,
		syscall.ENAMETOOLONG, syscall.EINVAL, syscall.EACCES, syscall.EPERM} {
		if errors.Is(err, known) {
			return strings.ToLower(known.Error())
		}
	}
	return fmt.Sprint(err)
}

func tree(root string) (string, string) {
	var names []string
	sum := sha256.New()
	check(filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		check(err)
		names = append(names, strings.TrimPrefix(path, root))
		if entry.Type().IsRegular() {
			data, err := os.ReadFile(path)
			check(err)
			sum.Write(data)
		}
		return nil
	}))
	sort.Strings(names)
	return strings.Join(names, " "), fmt.Sprintf("%x", sum.Sum(nil))
}

func files(root string) {
	check(os.MkdirAll(filepath.Join(root, "a/b/c"), 0o755))
	for i := 0; i < 5; i++ {
		check(os.WriteFile(filepath.Join(root, "a/b", fmt.Sprintf("f%d", i)), bytes.Repeat([]byte{byte(i)}, i*70000), 0o644))
	}
	log, err := os.OpenFile(filepath.Join(root, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	check(err)
	for i := 0; i < 3; i++ {
		fmt.Fprintln(log, "line", i)
	}
	check(log.Close())
	check(os.Rename(filepath.Join(root, "log"), filepath.Join(root, "a/log")))
	check(os.Symlink("b/f4", filepath.Join(root, "a/soft")))
	check(os.Link(filepath.Join(root, "a/log"), filepath.Join(root, "a/hard")))
	both, err := os.OpenFile(filepath.Join(root, "a/hard"), os.O_RDWR, 0)
	check(err)
	_, err = both.WriteAt([]byte("LINE"), 7)
	check(err)
	check(both.Truncate(18))
	check(both.Close())
	text, err := os.ReadFile(filepath.Join(root, "a/log"))
	check(err)
	fmt.Printf("%q\n", text)
	fmt.Println(tree(filepath.Join(root, "a")))
	soft, err := os.Readlink(filepath.Join(root, "a/soft"))
	check(err)
	info, err := os.Stat(filepath.Join(root, "a/soft"))
	check(err)
	fmt.Println(soft, info.Size(), info.Mode().IsRegular())
	when := time.Date(2001, 2, 3, 4, 5, 6, 7000, time.UTC)
	check(os.Chtimes(filepath.Join(root, "a/log"), when, when))
	info, err = os.Lstat(filepath.Join(root, "a/log"))
	check(err)
	fmt.Println(info.ModTime().UTC())
}

func failures(root string) {
	_, err := os.Stat(filepath.Join(root, "nothing"))
	fmt.Println("missing:", kind(err))
	_, err = os.ReadFile(filepath.Join(root, "a/log/below"))
	fmt.Println("below a file:", kind(err))
	fmt.Println("not empty:", kind(syscall.Rmdir(filepath.Join(root, "a"))))
	fmt.Println("exists:", kind(os.Mkdir(filepath.Join(root, "a"), 0o755)))
	_, err = os.OpenFile(filepath.Join(root, "a/log"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	fmt.Println("exclusive:", kind(err))
	_, err = os.OpenFile(filepath.Join(root, "a"), os.O_WRONLY, 0)
	fmt.Println("a folder:", kind(err))
	_, err = os.Create(filepath.Join(root, strings.Repeat("n", 300)))
	fmt.Println("a long name:", kind(err))
}

func archives(root string) {
	var packed bytes.Buffer
	out := zip.NewWriter(&packed)
	for i := 0; i < 5; i++ {
		member, err := out.Create(fmt.Sprintf("f%d", i))
		check(err)
		data, err := os.ReadFile(filepath.Join(root, "a/b", fmt.Sprintf("f%d", i)))
		check(err)
		_, err = member.Write(data)
		check(err)
	}
	check(out.Close())
	check(os.WriteFile(filepath.Join(root, "a.zip"), packed.Bytes(), 0o644))
	in, err := zip.OpenReader(filepath.Join(root, "a.zip"))
	check(err)
	for _, file := range in.File {
		fmt.Print(file.Name, " ", file.UncompressedSize64, "; ")
	}
	check(in.Close())
	file, err := os.Create(filepath.Join(root, "text.gz"))
	check(err)
	writer := gzip.NewWriter(file)
	fmt.Fprint(writer, strings.Repeat("again and ", 1000))
	check(writer.Close())
	_, err = file.Seek(0, io.SeekStart)
	check(err)
	reader, err := gzip.NewReader(file)
	check(err)
	text, err := io.ReadAll(reader)
	check(err)
	check(file.Close())
	fmt.Println(len(text))
}

func goroutines() {
	var group sync.WaitGroup
	var lock sync.Mutex
	sum := 0
	for i := 0; i < 100; i++ {
		i := i
		group.Add(1)
		go func() {
			defer group.Done()
			time.Sleep(time.Millisecond)
			lock.Lock()
			defer lock.Unlock()
			sum += i
		}()
	}
	group.Wait()
	select {
	case <-time.After(5 * time.Millisecond):
		fmt.Println("sum", sum)
	}
	defer func() { fmt.Println("recovered:", recover()) }()
	var none map[string]int
	none["x"] = 1
}

func main() {
	root := os.Args[1]
	fmt.Println(os.Args[2:], os.Getenv("GREETING"))
	files(root)
	failures(root)
	archives(root)
	goroutines()
	lines := bufio.NewScanner(os.Stdin)
	count := 0
	for lines.Scan() {
		count += len(lines.Text())
	}
	check(json.NewEncoder(os.Stdout).Encode(map[string]int{"stdin": count}))
	check(os.RemoveAll(filepath.Join(root, "a")))
	names, err := os.ReadDir(root)
	check(err)
	for _, name := range names {
		fmt.Print(name.Name(), " ")
	}
	fmt.Println()
	os.Exit(5)
}

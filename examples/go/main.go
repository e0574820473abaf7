// next calls a guest three times, and restores it after each call; as the README's first program, in Go by cgo, with husk.h as it is:
//
//	go build -o next . && ./next next.husk     (pkg-config finds husk)
//
// Go has handlers for all signals that are free for a program to use. It leaves alone signal 34 (Linux's numbers, glibc), which husk takes here
// to interrupt guests. What C keeps pointers to, or what has pointers in it, is C's memory: cgo's rules for Go memory do not allow it.
package main

/*
#cgo pkg-config: husk
#include <stdlib.h>
#include <husk.h>
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"unsafe"
)

const kickSignal = 34

type sandbox struct {
	engine  *C.husk_engine
	image   *C.husk_image
	sandbox *C.husk_sandbox
}

func failure(err *C.struct_husk_error) error {
	return errors.New(C.GoString(&err.message[0]))
}

func (s *sandbox) close() { // NULL is fine for all of them
	C.husk_sandbox_free(s.sandbox)
	C.husk_image_unref(s.image)
	C.husk_engine_unref(s.engine)
}

func open(path string) (*sandbox, error) {
	var err C.struct_husk_error
	s := &sandbox{}
	options := C.struct_husk_engine_options{size: C.sizeof_struct_husk_engine_options, kick_signal: kickSignal}
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	if C.husk_engine_new(&options, &s.engine, &err) != 0 || C.husk_image_open(s.engine, name, nil, &s.image, &err) != 0 ||
		C.husk_sandbox_new(s.image, nil, nil, &s.sandbox, &err) != 0 {
		s.close()
		return nil, failure(&err)
	}
	return s, nil
}

// call calls an export without parameters that returns an i32.
func (s *sandbox) call(name string) (int32, error) {
	var err C.struct_husk_error
	var outcome C.struct_husk_outcome
	outcome.size = C.sizeof_struct_husk_outcome
	call := (*C.struct_husk_call)(C.calloc(1, C.sizeof_struct_husk_call))
	defer C.free(unsafe.Pointer(call))
	call.size, call.name = C.sizeof_struct_husk_call, C.CString(name)
	defer C.free(unsafe.Pointer(call.name))
	call.results, call.results_count = (*C.struct_husk_value)(C.calloc(1, C.sizeof_struct_husk_value)), 1
	defer C.free(unsafe.Pointer(call.results))
	if C.husk_call(s.sandbox, call, &outcome, &err) != 0 {
		return 0, failure(&err)
	}
	if outcome.kind != C.HUSK_RETURNED {
		return 0, errors.New(C.GoString(&outcome.message[0]))
	}
	return *(*int32)(unsafe.Pointer(&call.results.of)), nil
}

func (s *sandbox) restore() error {
	var err C.struct_husk_error
	if C.husk_sandbox_restore(s.sandbox, s.image, &err) != 0 {
		return failure(&err)
	}
	return nil
}

func run(path string) error {
	s, err := open(path)
	if err != nil {
		return err
	}
	defer s.close()
	for i := 0; i < 3; i++ {
		count, err := s.call("next")
		if err != nil {
			return err
		}
		fmt.Println(count)
		if err := s.restore(); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: next IMAGE.husk")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

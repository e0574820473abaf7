//! Calls a guest three times, and restores it after each call; as the README's first program, in Rust:
//!
//!     rustc -O next.rs -L $(pkg-config --variable=libdir husk) && ./next next.husk
//!
//! husk_sys.rs says to Rust what husk.h says to C, as far as this program needs it.

mod husk_sys;

use husk_sys::*;
use std::ffi::{c_char, c_int, CStr, CString};
use std::mem::size_of;
use std::ptr::{null, null_mut};

/// Owns an engine, an image and a sandbox: what husk_sandbox_new() makes, until it is dropped.
struct Sandbox {
    engine: *mut husk_engine,
    image: *mut husk_image,
    sandbox: *mut husk_sandbox,
}

fn text(chars: &[c_char]) -> String {
    // The library ends each message with a NUL.
    unsafe { CStr::from_ptr(chars.as_ptr()) }.to_string_lossy().into_owned()
}

/// Calls a function of the library, and makes an Err of its error.
fn check(call: impl FnOnce(&mut husk_error) -> c_int) -> Result<(), String> {
    let mut err = husk_error { status: 0, sys_errno: 0, offset: 0, message: [0; 488] };
    if call(&mut err) == 0 { Ok(()) } else { Err(text(&err.message)) }
}

impl Sandbox {
    fn open(path: &str) -> Result<Sandbox, String> {
        let path = CString::new(path).map_err(|e| e.to_string())?;
        let mut s = Sandbox { engine: null_mut(), image: null_mut(), sandbox: null_mut() };
        unsafe {
            check(|err| husk_engine_new(null(), &mut s.engine, err))?;
            check(|err| husk_image_open(s.engine, path.as_ptr(), null(), &mut s.image, err))?;
            check(|err| husk_sandbox_new(s.image, null(), null(), &mut s.sandbox, err))?;
        }
        Ok(s)
    }

    /// Calls an export without parameters that returns an i32.
    fn call(&mut self, name: &CStr) -> Result<i32, String> {
        let mut result = husk_value { kind: 0, of: [0; 2] };
        let call = husk_call_options {
            size: size_of::<husk_call_options>(),
            name: name.as_ptr(),
            name_bytes: 0,
            func: husk_func { opaque: [0; 2] },
            args: null(),
            args_count: 0,
            results: &mut result,
            results_count: 1,
            limits: null(),
        };
        let mut outcome = husk_outcome::new();
        check(|err| unsafe { husk_call(self.sandbox, &call, &mut outcome, err) })?;
        if outcome.kind == HUSK_RETURNED { Ok(result.of[0] as i32) } else { Err(text(&outcome.message)) }
    }

    fn restore(&mut self) -> Result<(), String> {
        check(|err| unsafe { husk_sandbox_restore(self.sandbox, self.image, err) })
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        unsafe {
            husk_sandbox_free(self.sandbox); // NULL is fine for all of them
            husk_image_unref(self.image);
            husk_engine_unref(self.engine);
        }
    }
}

fn run(path: &str) -> Result<(), String> {
    let next = CStr::from_bytes_with_nul(b"next\0").map_err(|e| e.to_string())?;
    let mut sandbox = Sandbox::open(path)?;
    for _ in 0..3 {
        let count = sandbox.call(next)?;
        println!("{count}");
        sandbox.restore()?;
    }
    Ok(())
}

fn main() {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: next IMAGE.husk");
        std::process::exit(2);
    };
    if let Err(message) = run(&path) {
        eprintln!("{message}");
        std::process::exit(1);
    }
}

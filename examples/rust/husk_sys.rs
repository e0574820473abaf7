//! What next.rs needs of husk.h. bindgen makes all of it from the header: `bindgen --allowlist-item '(?i)husk.*' husk.h`.
#![allow(non_camel_case_types)]

use std::ffi::{c_char, c_int};
use std::mem::size_of;

#[repr(C)]
pub struct husk_engine([u8; 0]); // opaque, as in C
#[repr(C)]
pub struct husk_image([u8; 0]);
#[repr(C)]
pub struct husk_sandbox([u8; 0]);
#[repr(C)]
pub struct husk_limits([u8; 0]); // not used here: always null

#[repr(C)]
pub struct husk_error {
    pub status: c_int,
    pub sys_errno: c_int,
    pub offset: u64,
    pub message: [c_char; 488],
}

#[repr(C)]
pub struct husk_value {
    pub kind: u32, // `type` in C: HUSK_I32, …
    pub of: [u64; 2],
}

#[repr(C)]
pub struct husk_func {
    pub opaque: [u64; 2],
}

/// struct husk_call, whose name in Rust is taken by the function.
#[repr(C)]
pub struct husk_call_options {
    pub size: usize,
    pub name: *const c_char,
    pub name_bytes: usize,
    pub func: husk_func,
    pub args: *const husk_value,
    pub args_count: usize,
    pub results: *mut husk_value,
    pub results_count: usize,
    pub limits: *const husk_limits,
}

pub const HUSK_RETURNED: u32 = 0;

#[repr(C)]
pub struct husk_outcome {
    pub size: usize,
    pub kind: u32,
    pub trap: u32,
    pub limit: u32,
    pub exit_code: i32,
    pub is_poisoned: bool,
    pub state_is_exact: bool,
    pub reserved: [u8; 6],
    pub wall_ns: u64,
    pub cpu_ns: u64,
    pub message: [c_char; 256],
}

impl husk_outcome {
    pub fn new() -> husk_outcome {
        let zero: husk_outcome = unsafe { std::mem::zeroed() };
        husk_outcome { size: size_of::<husk_outcome>(), ..zero }
    }
}

#[link(name = "husk")]
unsafe extern "C" {
    pub fn husk_engine_new(options: *const u8, ret_engine: *mut *mut husk_engine, err: *mut husk_error) -> c_int;
    pub fn husk_engine_unref(engine: *mut husk_engine);
    pub fn husk_image_open(
        engine: *mut husk_engine,
        path: *const c_char,
        options: *const u8,
        ret_image: *mut *mut husk_image,
        err: *mut husk_error,
    ) -> c_int;
    pub fn husk_image_unref(image: *mut husk_image);
    pub fn husk_sandbox_new(
        image: *mut husk_image,
        imports: *const u8,
        options: *const u8,
        ret_sandbox: *mut *mut husk_sandbox,
        err: *mut husk_error,
    ) -> c_int;
    pub fn husk_sandbox_free(sandbox: *mut husk_sandbox);
    pub fn husk_call(
        sandbox: *mut husk_sandbox,
        call: *const husk_call_options,
        ret_outcome: *mut husk_outcome,
        err: *mut husk_error,
    ) -> c_int;
    pub fn husk_sandbox_restore(sandbox: *mut husk_sandbox, image: *mut husk_image, err: *mut husk_error) -> c_int;
}

;; For tests/kvm/code/exceptions_test.c: exceptions in the encoding of the legacy proposal.
(module
  (tag $a (param i32))
  (tag $b (param i64 i32))
  (tag $c)
  (tag $all (param i32 i64 f32 f64 v128 funcref externref))
  (type $ii (func (param i32) (result i32)))
  (memory 1)
  (global $log (mut i32) (i32.const 0))
  (table 4 4 funcref)
  (elem (i32.const 0) $thrower $pass)
  (elem declare func $pass)

  ;; Throws $a, $b or $c for 1, 2 or 3; traps for 4 and 5; else returns the number.
  (func $thrower (param i32) (result i32)
    (if (i32.eq (local.get 0) (i32.const 1)) (then (throw $a (i32.const 11))))
    (if (i32.eq (local.get 0) (i32.const 2)) (then (throw $b (i64.const 0x1234567812345678) (i32.const 22))))
    (if (i32.eq (local.get 0) (i32.const 3)) (then (throw $c)))
    (if (i32.eq (local.get 0) (i32.const 4)) (then unreachable))
    (if (i32.eq (local.get 0) (i32.const 5)) (then (drop (i32.load offset=0xfffff (i32.const -1)))))
    (local.get 0))
  (func $pass (param i32) (result i32) (call $thrower (local.get 0)))

  (func $minus (param i64 i32) (result i32) (i32.sub (i32.wrap_i64 (local.get 0)) (local.get 1)))

  (func (export "log") (result i32) (global.get $log))
  (func $note (param i32)
    (global.set $log (i32.add (i32.mul (global.get $log) (i32.const 10)) (local.get 0))))

  (func $throw_all
    (throw $all (i32.const -2) (i64.const 0x123456789abcdef0) (f32.const 1.5) (f64.const -2.25)
      (v128.const i64x2 7 -9) (ref.func $pass) (ref.null extern)))
  (func (export "values") (result i32)
    (local $v v128) (local $f funcref) (local $e externref) (local $d f64) (local $s f32)
    (local $l i64) (local $i i32)
    try
      call $throw_all
    catch $all
      local.set $e local.set $f local.set $v local.set $d local.set $s local.set $l local.set $i
    end
    (i32.and (i32.and (i32.eq (local.get $i) (i32.const -2))
                      (i64.eq (local.get $l) (i64.const 0x123456789abcdef0)))
      (i32.and (i32.and (f32.eq (local.get $s) (f32.const 1.5)) (f64.eq (local.get $d) (f64.const -2.25)))
        (i32.and (i32.and (i64.eq (i64x2.extract_lane 1 (local.get $v)) (i64.const -9))
                          (i64.eq (i64x2.extract_lane 0 (local.get $v)) (i64.const 7)))
          (i32.and (i32.eqz (ref.is_null (local.get $f))) (ref.is_null (local.get $e)))))))

  ;; The first clause that fits, of the innermost try.
  (func $nested (export "nested") (param i32) (result i32)
    try (result i32)
      try (result i32)
        try (result i32)
          local.get 0 call $pass
        catch $a
          i32.const 100 i32.add
        end
      catch $b
        call $minus
        i32.const 200 i32.add
        br 1
      end
      i32.const 1000 i32.add
    catch $a
      i32.const -1
      i32.add
    catch_all
      i32.const 300
    end)

  ;; To the function: its own try does not catch. To the outer try: the middle one does not catch.
  (func (export "delegate_out") (param i32) (result i32)
    try (result i32)
      try (result i32)
        local.get 0 call $delegates
      catch $c
        i32.const 7
      end
    catch_all
      i32.const 8
    end)
  (func $delegates (param i32) (result i32)
    try (result i32)
      try (result i32)
        local.get 0 call $pass
      delegate 1
    catch_all
      i32.const 9
    end)
  (func (export "delegate_over") (param i32) (result i32)
    try (result i32)
      try (result i32)
        try (result i32)
          local.get 0 call $pass
        delegate 1
      catch_all
        i32.const 1
      end
    catch $a
    catch_all
      i32.const 3
    end)
  ;; To a try in whose handler it stands: that one is over.
  (func (export "delegate_handler") (param i32) (result i32)
    try (result i32)
      try (result i32)
        throw $c
      catch $c
        try (result i32)
          local.get 0 call $pass
        delegate 0
      catch_all
        i32.const 1
      end
    catch_all
      i32.const 2
    end)

  (func $rethrows (param i32) (result i32)
    try (result i32)
      try (result i32)
        local.get 0 call $pass
      catch $a
        call $note
        rethrow 0
      catch_all
        (call $note (i32.const 5))
        rethrow 0
      end
    catch $b
      drop drop
      (call $note (i32.const 6))
      ;; another exception comes and goes before the first one is thrown again
      try
        (drop (call $pass (i32.const 1)))
      catch $a
        drop
      end
      rethrow 0
    catch_all
      try
        (drop (call $pass (i32.const 2)))
      catch $b
        call $note drop
        rethrow 1
      end
      unreachable
    end)
  (func (export "rethrow") (param i32) (result i32)
    (global.set $log (i32.const 0))
    try (result i32)
      local.get 0 call $rethrows
    catch $a
    catch $b
      call $minus
    catch $c
      i32.const 33
    end)

  ;; Locals have the values of the moment of the throw.
  (func (export "locals") (param $n i32) (param $at i32) (result i32)
    (local $i i32) (local $sum i64) (local $d f64) (local $v v128)
    try
      loop $l
        (local.set $sum (i64.add (local.get $sum) (i64.const 3)))
        (local.set $d (f64.add (local.get $d) (f64.const 0.5)))
        (local.set $v (i32x4.add (local.get $v) (i32x4.splat (i32.const 2))))
        (drop (call $pass (i32.eq (local.get $i) (local.get $at))))
        (local.set $v (i32x4.add (local.get $v) (i32x4.splat (i32.const 1))))
        (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n)))
      end
      (local.set $sum (i64.const 1000000))
    catch $a
      drop
    end
    (i32.add (i32.add (i32.wrap_i64 (local.get $sum)) (i32.trunc_f64_s (local.get $d)))
      (i32.add (i32x4.extract_lane 3 (local.get $v)) (local.get $i))))

  ;; Many live values across calls: callee-saved registers, which deeper frames overwrite.
  (func $deep (param i32 i64 i64 i64 i64 i64 i64) (result i64)
    (if (i32.eqz (local.get 0)) (then (throw $b (i64.add (local.get 1) (local.get 6)) (i32.const 1))))
    (i64.add (i64.add (local.get 1) (i64.add (local.get 2) (local.get 3)))
      (i64.mul (call $deep (i32.sub (local.get 0) (i32.const 1))
          (i64.add (local.get 6) (i64.const 1)) (i64.mul (local.get 1) (i64.const 3))
          (i64.xor (local.get 2) (local.get 1)) (i64.sub (local.get 3) (local.get 2))
          (i64.add (local.get 4) (local.get 3)) (i64.add (local.get 5) (i64.const 7)))
        (i64.sub (local.get 4) (i64.mul (local.get 5) (local.get 6))))))
  (func (export "registers") (param $depth i32) (result i64)
    (local $a i64) (local $b i64) (local $c i64) (local $d i64) (local $e i64) (local $f i64)
    (local $n i32) (local $sum i64)
    loop $l
      (local.set $a (i64.add (local.get $a) (i64.const 1)))
      (local.set $b (i64.add (local.get $b) (local.get $a)))
      (local.set $c (i64.xor (local.get $c) (local.get $b)))
      (local.set $d (i64.add (local.get $d) (i64.const 5)))
      (local.set $e (i64.add (local.get $e) (local.get $d)))
      (local.set $f (i64.add (local.get $f) (local.get $e)))
      try
        (local.set $sum (call $deep (local.get $depth) (local.get $a) (local.get $b) (local.get $c)
          (local.get $d) (local.get $e) (local.get $f)))
      catch $b
        i64.extend_i32_u i64.add local.get $sum i64.add local.set $sum
      end
      (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 50)))
    end
    (i64.add (i64.add (local.get $a) (i64.add (local.get $b) (local.get $c)))
      (i64.add (local.get $sum) (i64.add (local.get $d) (i64.add (local.get $e) (local.get $f))))))

  (func (export "indirect") (param i32 i32) (result i32)
    try (result i32)
      local.get 0 local.get 1 call_indirect (type $ii)
    catch $a
      i32.const 100 i32.add
    catch_all
      i32.const 5
    end)

  ;; More results than registers, from a call that may throw.
  (func $five (param i32) (result i32 i64 f32 f64 i32)
    local.get 0 call $pass i64.const 2 f32.const 3 f64.const 4 i32.const 5)
  (func (export "results") (param i32) (result i32) (local f64)
    try (result i32)
      local.get 0 call $five
      local.set 0 local.set 1 drop i32.wrap_i64 i32.add local.get 0 i32.add
      local.get 1 i32.trunc_f64_s i32.add
    catch $a
    catch_all
      i32.const -1
    end)

  ;; Into handlers and out of them; parameters and several results of a try.
  (func (export "branches") (param i32) (result i32) (local $n i32)
    loop $again
      local.get 0 i32.const 40
      try $t (param i32 i32) (result i32 i64)
        i32.add
        local.get $n call $pass i32.add
        i64.const 1000
        local.get $n i32.const 4 i32.ge_u
        br_if $t
        drop drop
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        br $again
      catch $a
        (local.set $n (i32.add (i32.const 1) (local.get $n)))
        drop
        br $again
      catch_all
        (if (i32.eq (local.get $n) (i32.const 3)) (then (local.set $n (i32.const 6)) (br $again)))
        (local.set $n (i32.const 3))
        br $again
      end
      i32.wrap_i64 i32.add return
    end
    unreachable)

  ;; Throws in the function that catches them are branches.
  (func (export "local_throw") (param i32) (result i32)
    try (result i32)
      try (result i32)
        (if (i32.eq (local.get 0) (i32.const 1)) (then (throw $a (i32.const 5))))
        (if (i32.eq (local.get 0) (i32.const 2)) (then (throw $b (i64.const 6) (i32.const 7))))
        (if (i32.eq (local.get 0) (i32.const 3)) (then (throw $c)))
        (drop (call $pass (local.get 0)))
        i32.const 1
      catch $b
        call $minus
      end
    catch $a
      rethrow 0
    catch_all
      i32.const 9
    end)
  (func (export "local_throw_out") (param i32) (result i32)
    (block $out (result i32)
      (loop $l
        try
          (br_if $l (i32.ne (local.tee 0 (i32.sub (local.get 0) (i32.const 1))) (i32.const 5)))
          (throw $a (i32.add (local.get 0) (i32.const 70)))
        catch $a
          br $out
        end)
      i32.const 0))

  ;; Code that is never reached, and tries in which nothing throws.
  (func (export "dead") (param i32) (result i32)
    try (result i32)
      local.get 0
      br 1
      try
        call $throw_all
      catch $c
        rethrow 0
      catch_all
        try
          throw $c
        delegate 0
      end
      throw $c
    catch $a
      unreachable
    catch_all
      i32.const 3
    end
    drop
    try
    end
    try (result i32)
      i32.const 77
    catch $a
      try throw $c catch_all rethrow 1 end
      throw $c
    end)

  (func (export "million") (param $n i32) (result i32) (local $sum i32)
    loop $l
      try
        try
          try
            (drop (call $pass (i32.const 1)))
          catch_all
            rethrow 0
          end
        catch $a
          rethrow 0
        end
      catch $a
        (local.set $sum (i32.add (local.get $sum)))
      end
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))
    end
    local.get $sum)

  (func $frames (param i32) (result i32)
    (if (i32.eqz (local.get 0)) (then (throw $a (i32.const 8))))
    (i32.add (i32.const 1) (call $frames (i32.sub (local.get 0) (i32.const 1)))))
  (func (export "deep") (param i32) (result i32)
    try (result i32)
      local.get 0 call $frames
    catch $b
      drop i32.wrap_i64
    catch $a
    end)

  ;; Traps are not caught.
  (func (export "traps") (param i32) (result i32)
    try (result i32)
      local.get 0 call $pass
    catch_all
      i32.const 1
    end)
  (func $endless (result i32) (i32.add (call $endless) (i32.const 1)))
  (func (export "exhausts") (result i32)
    try (result i32)
      call $endless
    catch_all
      i32.const 1
    end)
  (func (export "uncaught") (param i32) (result i32)
    try (result i32)
      local.get 0 call $pass
    catch $a
    end))

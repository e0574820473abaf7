;; For tests/kvm/code/exception_tails_test.c: what is thrown behind tail calls, by functions with more
;; and with fewer arguments than the calling function passed. Callers need their own values afterwards.
(module
  (tag $t (param i64))
  (memory 1)
  (data (i32.const 0) "\01\02\03\04\05\06\07\08\09\0a\0b\0c\0d\0e\0f\10"
    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz")
  (func $twenty (param i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i64)
    (throw $t (i64.add (local.get 0) (i64.add (local.get 1) (i64.add (local.get 2) (i64.add
    (local.get 3) (i64.add (local.get 4) (i64.add (local.get 5) (i64.add (local.get 6) (i64.add
    (local.get 7) (i64.add (local.get 8) (i64.add (local.get 9) (i64.add (local.get 10)
    (i64.add (local.get 11) (i64.add (local.get 12) (i64.add (local.get 13) (i64.add (local.get
    14) (i64.add (local.get 15) (i64.add (local.get 16) (i64.add (local.get 17) (i64.add
    (local.get 18) (local.get 19))))))))))))))))))))))
  (func $twelve (param i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i64)
    (return_call $twenty (i64.mul (local.get 0) (i64.const 1)) (i64.mul (local.get 1)
    (i64.const 2)) (i64.mul (local.get 2) (i64.const 3)) (i64.mul (local.get 3) (i64.const 4))
    (i64.mul (local.get 4) (i64.const 5)) (i64.mul (local.get 5) (i64.const 6)) (i64.mul
    (local.get 6) (i64.const 7)) (i64.mul (local.get 7) (i64.const 8)) (i64.mul (local.get 8)
    (i64.const 9)) (i64.mul (local.get 9) (i64.const 10)) (i64.mul (local.get 10) (i64.const
    11)) (i64.mul (local.get 11) (i64.const 12)) (i64.mul (local.get 0) (i64.const 13))
    (i64.mul (local.get 1) (i64.const 14)) (i64.mul (local.get 2) (i64.const 15)) (i64.mul
    (local.get 3) (i64.const 16)) (i64.mul (local.get 4) (i64.const 17)) (i64.mul (local.get 5)
    (i64.const 18)) (i64.mul (local.get 6) (i64.const 19)) (i64.mul (local.get 7) (i64.const
    20))))
  (func $one (param i64) (result i64)
    (return_call $twenty (i64.add (local.get 0) (i64.const 0)) (i64.add (local.get 0)
    (i64.const 1)) (i64.add (local.get 0) (i64.const 2)) (i64.add (local.get 0) (i64.const 3))
    (i64.add (local.get 0) (i64.const 4)) (i64.add (local.get 0) (i64.const 5)) (i64.add
    (local.get 0) (i64.const 6)) (i64.add (local.get 0) (i64.const 7)) (i64.add (local.get 0)
    (i64.const 8)) (i64.add (local.get 0) (i64.const 9)) (i64.add (local.get 0) (i64.const 10))
    (i64.add (local.get 0) (i64.const 11)) (i64.add (local.get 0) (i64.const 12)) (i64.add
    (local.get 0) (i64.const 13)) (i64.add (local.get 0) (i64.const 14)) (i64.add (local.get 0)
    (i64.const 15)) (i64.add (local.get 0) (i64.const 16)) (i64.add (local.get 0) (i64.const
    17)) (i64.add (local.get 0) (i64.const 18)) (i64.add (local.get 0) (i64.const 19))))
  (func $ten (param i64 i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i64) (return_call $one (local.get 9)))
  (func (export "of_twelve") (param i32) (result i64)
    (local i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64)
    (local.set 1 (i64.load (i32.add (local.get 0) (i32.const 0))))
    (local.set 2 (i64.load (i32.add (local.get 0) (i32.const 8))))
    (local.set 3 (i64.load (i32.add (local.get 0) (i32.const 16))))
    (local.set 4 (i64.load (i32.add (local.get 0) (i32.const 24))))
    (local.set 5 (i64.load (i32.add (local.get 0) (i32.const 32))))
    (local.set 6 (i64.load (i32.add (local.get 0) (i32.const 40))))
    (local.set 7 (i64.load (i32.add (local.get 0) (i32.const 48))))
    (local.set 8 (i64.load (i32.add (local.get 0) (i32.const 56))))
    (local.set 9 (i64.load (i32.add (local.get 0) (i32.const 64))))
    (local.set 10 (i64.load (i32.add (local.get 0) (i32.const 72))))
    (local.set 11 (try (result i64)
      (do (call $twelve (i64.add (local.get 1) (i64.const 0)) (i64.add (local.get 2) (i64.const
      1)) (i64.add (local.get 3) (i64.const 2)) (i64.add (local.get 4) (i64.const 3)) (i64.add
      (local.get 5) (i64.const 4)) (i64.add (local.get 6) (i64.const 5)) (i64.add (local.get 7)
      (i64.const 6)) (i64.add (local.get 8) (i64.const 7)) (i64.add (local.get 9) (i64.const
      8)) (i64.add (local.get 10) (i64.const 9)) (i64.add (local.get 1) (i64.const 10))
      (i64.add (local.get 2) (i64.const 11))))
      (catch $t)))
    (i64.add (i64.mul (local.get 1) (i64.const 1)) (i64.add (i64.mul (local.get 2) (i64.const
    3)) (i64.add (i64.mul (local.get 3) (i64.const 9)) (i64.add (i64.mul (local.get 4)
    (i64.const 27)) (i64.add (i64.mul (local.get 5) (i64.const 81)) (i64.add (i64.mul
    (local.get 6) (i64.const 243)) (i64.add (i64.mul (local.get 7) (i64.const 729)) (i64.add
    (i64.mul (local.get 8) (i64.const 2187)) (i64.add (i64.mul (local.get 9) (i64.const 6561))
    (i64.add (i64.mul (local.get 10) (i64.const 19683)) (local.get 11))))))))))))
  (func (export "of_one") (param i32) (result i64)
    (local i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64)
    (local.set 1 (i64.load (i32.add (local.get 0) (i32.const 0))))
    (local.set 2 (i64.load (i32.add (local.get 0) (i32.const 8))))
    (local.set 3 (i64.load (i32.add (local.get 0) (i32.const 16))))
    (local.set 4 (i64.load (i32.add (local.get 0) (i32.const 24))))
    (local.set 5 (i64.load (i32.add (local.get 0) (i32.const 32))))
    (local.set 6 (i64.load (i32.add (local.get 0) (i32.const 40))))
    (local.set 7 (i64.load (i32.add (local.get 0) (i32.const 48))))
    (local.set 8 (i64.load (i32.add (local.get 0) (i32.const 56))))
    (local.set 9 (i64.load (i32.add (local.get 0) (i32.const 64))))
    (local.set 10 (i64.load (i32.add (local.get 0) (i32.const 72))))
    (local.set 11 (try (result i64)
      (do (call $one (i64.add (local.get 1) (i64.const 0))))
      (catch $t)))
    (i64.add (i64.mul (local.get 1) (i64.const 1)) (i64.add (i64.mul (local.get 2) (i64.const
    3)) (i64.add (i64.mul (local.get 3) (i64.const 9)) (i64.add (i64.mul (local.get 4)
    (i64.const 27)) (i64.add (i64.mul (local.get 5) (i64.const 81)) (i64.add (i64.mul
    (local.get 6) (i64.const 243)) (i64.add (i64.mul (local.get 7) (i64.const 729)) (i64.add
    (i64.mul (local.get 8) (i64.const 2187)) (i64.add (i64.mul (local.get 9) (i64.const 6561))
    (i64.add (i64.mul (local.get 10) (i64.const 19683)) (local.get 11))))))))))))
  (func (export "of_ten") (param i32) (result i64)
    (local i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64)
    (local.set 1 (i64.load (i32.add (local.get 0) (i32.const 0))))
    (local.set 2 (i64.load (i32.add (local.get 0) (i32.const 8))))
    (local.set 3 (i64.load (i32.add (local.get 0) (i32.const 16))))
    (local.set 4 (i64.load (i32.add (local.get 0) (i32.const 24))))
    (local.set 5 (i64.load (i32.add (local.get 0) (i32.const 32))))
    (local.set 6 (i64.load (i32.add (local.get 0) (i32.const 40))))
    (local.set 7 (i64.load (i32.add (local.get 0) (i32.const 48))))
    (local.set 8 (i64.load (i32.add (local.get 0) (i32.const 56))))
    (local.set 9 (i64.load (i32.add (local.get 0) (i32.const 64))))
    (local.set 10 (i64.load (i32.add (local.get 0) (i32.const 72))))
    (local.set 11 (try (result i64)
      (do (call $ten (i64.add (local.get 1) (i64.const 0)) (i64.add (local.get 2) (i64.const
      1)) (i64.add (local.get 3) (i64.const 2)) (i64.add (local.get 4) (i64.const 3)) (i64.add
      (local.get 5) (i64.const 4)) (i64.add (local.get 6) (i64.const 5)) (i64.add (local.get 7)
      (i64.const 6)) (i64.add (local.get 8) (i64.const 7)) (i64.add (local.get 9) (i64.const
      8)) (i64.add (local.get 10) (i64.const 9))))
      (catch $t)))
    (i64.add (i64.mul (local.get 1) (i64.const 1)) (i64.add (i64.mul (local.get 2) (i64.const
    3)) (i64.add (i64.mul (local.get 3) (i64.const 9)) (i64.add (i64.mul (local.get 4)
    (i64.const 27)) (i64.add (i64.mul (local.get 5) (i64.const 81)) (i64.add (i64.mul
    (local.get 6) (i64.const 243)) (i64.add (i64.mul (local.get 7) (i64.const 729)) (i64.add
    (i64.mul (local.get 8) (i64.const 2187)) (i64.add (i64.mul (local.get 9) (i64.const 6561))
    (i64.add (i64.mul (local.get 10) (i64.const 19683)) (local.get 11))))))))))))
  ;; The stack does not get any lower.
  (func (export "many") (param i32) (result i64) (local i64 i32)
    (loop $l
      (local.set 1 (i64.add (local.get 1) (call $caught (local.get 0))))
      (br_if $l (i32.lt_u (local.tee 2 (i32.add (local.get 2) (i32.const 1))) (i32.const 100000))))
    (local.get 1))
  (func $caught (param i32) (result i64) (local i64 i64)
    (local.set 1 (i64.load (local.get 0)))
    (local.set 2 (i64.load offset=8 (local.get 0)))
    (try (result i64) (do (call $one (i64.add (local.get 1) (local.get 2)))) (catch $t))
    (i64.add (local.get 1)) (i64.add (local.get 2)))
)

;; The one loop in which the network spends its time, four numbers at once (f32x4).
;; It computes 4 output channels of up to 8 neighbouring pixels. An output is a bias plus a sum over the inputs around
;; it: over $rows rows of $length bytes, $row_step bytes apart. A weight is loaded once for 8 pixels, and 8 sums are
;; independent, so that no addition waits for the one before it. All addresses and steps are in bytes.
;; It always computes 8 pixels and stores $count of them, so that any side will do. What it reads beyond the right edge
;; is other pixels, or the spare room at the end of the memory; no stored sum contains it.
(module
  (import "page" "memory" (memory 1))
  ;; Store the sums of pixel $i, if it is one of $count, after the leaky ReLU: what is below zero is multiplied
  ;; by the slope, which is 1 for none.
  (func $store
    (param $sums v128) (param $slope f32) (param $i i32) (param $count i32) (param $out i32) (param $step i32)
    (local $zero v128)
    (if (i32.lt_u (local.get $i) (local.get $count)) (then
      (v128.store (i32.add (local.get $out) (i32.mul (local.get $i) (local.get $step))) (f32x4.add
        (f32x4.max (local.get $sums) (local.get $zero))
        (f32x4.mul (f32x4.splat (local.get $slope)) (f32x4.min (local.get $sums) (local.get $zero))))))))
  (func (export "convolve")
    (param $x i32) (param $x_step i32)       ;; first input of the first pixel; from pixel to pixel
    (param $rows i32) (param $length i32) (param $row_step i32)
    (param $w i32) (param $bias i32)         ;; weights, 4 for each input; 4 biases
    (param $out i32) (param $step i32) (param $count i32) (param $slope f32)
    (local $end i32) (local $w4 v128)
    (local $x0 i32) (local $x1 i32) (local $x2 i32) (local $x3 i32) (local $x4 i32) (local $x5 i32) (local $x6 i32) (local $x7 i32)
    (local $s0 v128) (local $s1 v128) (local $s2 v128) (local $s3 v128) (local $s4 v128) (local $s5 v128) (local $s6 v128) (local $s7 v128)
    (local.set $s0 (local.tee $s1 (local.tee $s2 (local.tee $s3 (local.tee $s4 (local.tee $s5 (local.tee $s6
      (local.tee $s7 (v128.load (local.get $bias))))))))))
    (loop $row
      (local.set $x0 (local.get $x)) (local.set $x1 (i32.add (local.get $x0) (local.get $x_step)))
      (local.set $x2 (i32.add (local.get $x1) (local.get $x_step))) (local.set $x3 (i32.add (local.get $x2) (local.get $x_step)))
      (local.set $x4 (i32.add (local.get $x3) (local.get $x_step))) (local.set $x5 (i32.add (local.get $x4) (local.get $x_step)))
      (local.set $x6 (i32.add (local.get $x5) (local.get $x_step))) (local.set $x7 (i32.add (local.get $x6) (local.get $x_step)))
      (local.set $end (i32.add (local.get $x) (local.get $length)))
      (loop $input
        (local.set $w4 (v128.load (local.get $w)))
        (local.set $s0 (f32x4.add (local.get $s0) (f32x4.mul (local.get $w4) (v128.load32_splat (local.get $x0)))))
        (local.set $s1 (f32x4.add (local.get $s1) (f32x4.mul (local.get $w4) (v128.load32_splat (local.get $x1)))))
        (local.set $s2 (f32x4.add (local.get $s2) (f32x4.mul (local.get $w4) (v128.load32_splat (local.get $x2)))))
        (local.set $s3 (f32x4.add (local.get $s3) (f32x4.mul (local.get $w4) (v128.load32_splat (local.get $x3)))))
        (local.set $s4 (f32x4.add (local.get $s4) (f32x4.mul (local.get $w4) (v128.load32_splat (local.get $x4)))))
        (local.set $s5 (f32x4.add (local.get $s5) (f32x4.mul (local.get $w4) (v128.load32_splat (local.get $x5)))))
        (local.set $s6 (f32x4.add (local.get $s6) (f32x4.mul (local.get $w4) (v128.load32_splat (local.get $x6)))))
        (local.set $s7 (f32x4.add (local.get $s7) (f32x4.mul (local.get $w4) (v128.load32_splat (local.get $x7)))))
        (local.set $w (i32.add (local.get $w) (i32.const 16)))
        (local.set $x0 (i32.add (local.get $x0) (i32.const 4))) (local.set $x1 (i32.add (local.get $x1) (i32.const 4)))
        (local.set $x2 (i32.add (local.get $x2) (i32.const 4))) (local.set $x3 (i32.add (local.get $x3) (i32.const 4)))
        (local.set $x4 (i32.add (local.get $x4) (i32.const 4))) (local.set $x5 (i32.add (local.get $x5) (i32.const 4)))
        (local.set $x6 (i32.add (local.get $x6) (i32.const 4))) (local.set $x7 (i32.add (local.get $x7) (i32.const 4)))
        (br_if $input (i32.lt_u (local.get $x0) (local.get $end))))
      (local.set $x (i32.add (local.get $x) (local.get $row_step)))
      (br_if $row (local.tee $rows (i32.sub (local.get $rows) (i32.const 1)))))
    (call $store (local.get $s0) (local.get $slope) (i32.const 0) (local.get $count) (local.get $out) (local.get $step))
    (call $store (local.get $s1) (local.get $slope) (i32.const 1) (local.get $count) (local.get $out) (local.get $step))
    (call $store (local.get $s2) (local.get $slope) (i32.const 2) (local.get $count) (local.get $out) (local.get $step))
    (call $store (local.get $s3) (local.get $slope) (i32.const 3) (local.get $count) (local.get $out) (local.get $step))
    (call $store (local.get $s4) (local.get $slope) (i32.const 4) (local.get $count) (local.get $out) (local.get $step))
    (call $store (local.get $s5) (local.get $slope) (i32.const 5) (local.get $count) (local.get $out) (local.get $step))
    (call $store (local.get $s6) (local.get $slope) (i32.const 6) (local.get $count) (local.get $out) (local.get $step))
    (call $store (local.get $s7) (local.get $slope) (i32.const 7) (local.get $count) (local.get $out) (local.get $step))))

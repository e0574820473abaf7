/*
 * tests/spec/spec_pack.h: the format of packs, which spec_pack (compiles) writes and spec_run
 * (executes) reads. A pack has text lines. An image follows its line as raw bytes and a newline.
 * Names and texts are "x" and hex digits; "-" means none. IMAGE is a number that counts from 0.
 * An image holds one or more instances of the file; STAGE is the position of one in its image.
 * FIELD is the name of an export of the image. VALUES is a count and that many words of
 * spec_values.h.
 *
 *   husk-spec-pack-2 GROUP NAME
 *   passed LINE                          judged by spec_pack already
 *   failed LINE TEXT                     so, too
 *   skipped LINE TEXT                    cannot be judged or cannot run yet, and why
 *   image IMAGE INSTANCES BYTES          an image of so many instances follows
 *   drop IMAGE                           nothing uses it from here on
 *   start LINE IMAGE STAGE               must return
 *   no_start LINE IMAGE STAGE TEXT       must trap, and why
 *   no_link LINE IMAGE STAGE TEXT        must not link when this stage is reached, and why
 *   assert_return LINE invoke|get IMAGE FIELD VALUES(args) VALUES(expected)     also action
 *   assert_trap LINE invoke|get IMAGE FIELD VALUES(args) TEXT
 *                                        also assert_exhaustion, assert_exception
 *   end JUDGED MODULES                   so many of the file's binary modules were judged
 */
#ifndef SPEC_PACK_H
#define SPEC_PACK_H

#define SPEC_PACK_MAGIC "husk-spec-pack-2"

#endif

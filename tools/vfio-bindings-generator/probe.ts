/**
 * The C program that finds the values: tables of constants, sizes and fields, which it prints as JSON. Only this output is
 * parsed. Each question is on a separate line, with a name (#line) that appears in the compiler's error messages.
 */
import type { StructWish } from './config.js';
import type { Constant } from './macros.js';

/** A question: `text` in C, and `subject` for error messages. */
export interface Question {
  readonly table: 'constants' | 'sizes' | 'fields';
  readonly subject: string;
  readonly text: string;
}

/** u8 ... s64, be16 ...: a number; u8[] ...: an array of them; pointer: one requested as an array; bytes: anything else. */
export type Kind = string;

export interface FieldAnswer {
  readonly offset: number;
  /** Bytes of the field; of an element where the field was requested as an array. */
  readonly size: number;
  readonly kind: Kind;
}

export interface Answer {
  /** LINUX_VERSION_CODE of the headers. */
  readonly linux: number;
  readonly constants: readonly bigint[];
  readonly sizes: readonly number[];
  readonly fields: readonly FieldAnswer[];
}

export function questions(constants: readonly Constant[], structs: readonly StructWish[]): readonly Question[] {
  return [
    ...constants.map(({ name, expression }): Question => {
      const subject = name === expression ? name : `${name} = ${expression}`;
      return { table: 'constants', subject, text: `VBG_CONSTANT(${expression})` };
    }),
    ...structs.map(({ name }): Question => ({
      table: 'sizes',
      subject: `struct ${name}`,
      text: `sizeof(struct ${name})`,
    })),
    ...structs.flatMap(({ name, fields }) =>
      fields.map(({ path, array }): Question => {
        const subject = `${name}.${path}${array ? '[]' : ''}`;
        return { table: 'fields', subject, text: `${array ? 'VBG_ARRAY' : 'VBG_FIELD'}(struct ${name}, ${path})` };
      }),
    ),
  ];
}

// Big-endian types become structs, so that the compiler can distinguish them from other numbers of the same width; headers
// that compute with them come first. A pointer to an array of unknown length is compatible with one to any array, even a
// flexible array member.
const prelude = `
#include <stddef.h>
#include <stdio.h>
#include <linux/ioctl.h>
#include <linux/types.h>
#include <linux/version.h>
#include <asm/byteorder.h>
typedef struct { __u16 value; } vbg_be16;
typedef struct { __u32 value; } vbg_be32;
typedef struct { __u64 value; } vbg_be64;
#define __be16 vbg_be16
#define __be32 vbg_be32
#define __be64 vbg_be64
_Static_assert(sizeof(long) == 8 && sizeof(int) == 4 && sizeof(short) == 2, "a compiler for 64 bits is needed");

struct vbg_constant { int is_signed; unsigned long long value; };
struct vbg_field { unsigned long offset, size; const char *kind; };

#define VBG_SIGNED(x) _Generic((x), _Bool: 0, char: 1, signed char: 1, unsigned char: 0, short: 1, unsigned short: 0, \\
  int: 1, unsigned int: 0, long: 1, unsigned long: 0, long long: 1, unsigned long long: 0)
#define VBG_CONSTANT(...) { VBG_SIGNED((__VA_ARGS__)), (unsigned long long)(__VA_ARGS__) }

#define VBG_OF(type, name) type *: name, type (*)[]: name "[]"
#define VBG_KIND(s, f) _Generic(&((s *)0)->f, \\
  VBG_OF(_Bool, "u8"), VBG_OF(char, "u8"), VBG_OF(signed char, "s8"), VBG_OF(unsigned char, "u8"), \\
  VBG_OF(short, "s16"), VBG_OF(unsigned short, "u16"), VBG_OF(int, "s32"), VBG_OF(unsigned int, "u32"), \\
  VBG_OF(long, "s64"), VBG_OF(unsigned long, "u64"), VBG_OF(long long, "s64"), VBG_OF(unsigned long long, "u64"), \\
  VBG_OF(vbg_be16, "be16"), VBG_OF(vbg_be32, "be32"), VBG_OF(vbg_be64, "be64"), default: "bytes")
#define VBG_FIELD(s, f) { offsetof(s, f), sizeof(((s *)0)->f), VBG_KIND(s, f) }
#define VBG_POINTER(s, f) __builtin_types_compatible_p(__typeof__(((s *)0)->f), __typeof__(&((s *)0)->f[0]))
#define VBG_ARRAY(s, f) { offsetof(s, f), sizeof(((s *)0)->f[0]), VBG_POINTER(s, f) ? "pointer" : VBG_KIND(s, f) }
`;

const main = `
#line 1 "vbg-main"
#define VBG_EACH(table) (i = 0; i + 1 < sizeof vbg_##table / sizeof *vbg_##table; i++)
int main(void) {
  size_t i;
  printf("{\\"linux\\":%d,\\"constants\\":[", LINUX_VERSION_CODE);
  for VBG_EACH(constants)
    printf(vbg_constants[i].is_signed ? "%s\\"%lld\\"" : "%s\\"%llu\\"", i ? "," : "", vbg_constants[i].value);
  printf("],\\"sizes\\":[");
  for VBG_EACH(sizes) printf("%s%lu", i ? "," : "", vbg_sizes[i]);
  printf("],\\"fields\\":[");
  for VBG_EACH(fields)
    printf("%s{\\"offset\\":%lu,\\"size\\":%lu,\\"kind\\":\\"%s\\"}", i ? "," : "", vbg_fields[i].offset,
           vbg_fields[i].size, vbg_fields[i].kind);
  printf("]}");
  return 0;
}
`;

/** The program with all questions about `header`. */
export function program(header: string, asked: readonly Question[]): string {
  const rows = (table: Question['table'], type: string) => {
    const lines = asked.map((question, i) =>
      question.table === table ? `#line 1 "vbg-question-${i}"\n${question.text},\n` : '',
    );
    // the last row is not printed: it avoids an empty table
    return `static const ${type} vbg_${table}[] = {\n${lines.join('')}#line 1 "vbg-end"\n{ 0 }\n};\n`;
  };
  return [
    `${prelude}#include <${header}>\n`,
    rows('constants', 'struct vbg_constant'),
    rows('sizes', 'unsigned long'),
    rows('fields', 'struct vbg_field'),
    main,
  ].join('');
}

export function parseAnswer(json: string): Answer {
  const answer = JSON.parse(json) as Omit<Answer, 'constants'> & { readonly constants: readonly string[] };
  return { ...answer, constants: answer.constants.map(BigInt) };
}

/** The compiler's error as a sentence. */
export function explain(complaint: string, header: string, asked: readonly Question[]): string {
  const why = /(?:^|\s)(?:fatal )?error: (.*)$/m.exec(complaint)?.[1] ?? complaint.trim().split('\n')[0]!;
  const number = /vbg-question-(\d+)/.exec(complaint)?.[1];
  const question = number === undefined ? undefined : asked[Number(number)];
  if (question === undefined) return `<${header}> cannot be compiled: ${why}`;
  const flexible = question.table === 'fields' && why.includes('incomplete type');
  const hint = flexible ? `; an array without a length is written ${question.subject.replace(/^.*?\./, '')}[]` : '';
  return `<${header}> does not have ${question.subject} as it is asked for: ${why}${hint}`;
}

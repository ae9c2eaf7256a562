/** Generates TypeScript from a configuration: one module for each header, and one that all of them import. */
import { VirtioPmdError } from '../../native/errors.js';
import { ask, preprocess, type Compiler } from './compiler.js';
import type { HeaderWish } from './config.js';
import { emitModule } from './emit.js';
import { FIELDS_MODULE, fieldsModule } from './fields-module.js';
import { macrosOf, selectConstants } from './macros.js';
import { explain, parseAnswer, program, questions } from './probe.js';

/** Contents of files by name. */
export type Files = ReadonlyMap<string, string>;

const refuse = (sentence: string) => new VirtioPmdError('EOPTION', sentence);

function generateModule(wish: HeaderWish, compiler: Compiler): string {
  const preprocessed = preprocess(compiler, wish.header);
  if (!preprocessed.good) throw refuse(explain(preprocessed.stderr, wish.header, []));
  const constants = selectConstants(wish, macrosOf(preprocessed.stdout, wish.header));
  const asked = questions(constants, wish.structs);
  const answered = ask(compiler, program(wish.header, asked));
  if (!answered.good) throw refuse(explain(answered.stderr, wish.header, asked));
  const answer = parseAnswer(answered.stdout);
  const fields = asked.filter(({ table }) => table === 'fields');
  const pointer = fields.find((_, i) => answer.fields[i]!.kind === 'pointer');
  if (pointer === undefined) return emitModule(wish, constants, answer);
  throw refuse(`<${wish.header}>: ${pointer.subject} is a pointer, not an array: write it without []`);
}

/** @throws VirtioPmdError EOPTION when a header lacks something; ESYSTEM without a compiler or part of the package */
export function generate(wishes: readonly HeaderWish[], compiler: Compiler): Files {
  const files = new Map<string, string>();
  for (const wish of wishes) files.set(wish.module, generateModule(wish, compiler));
  if (wishes.some(({ structs }) => structs.length > 0)) files.set(FIELDS_MODULE, fieldsModule());
  return files;
}

import test from 'ava';
import { VirtioPmdError } from '../../../native/errors.js';
import { chooseMainLcore, formatList, parseLcores, type LcoreOption } from '../../../driver/eal/lcore-list.js';

const cpus = [0, 1, 2, 3];
const parsed = (option: LcoreOption, text: string) => Object.fromEntries(parseLcores(option, text, cpus));

const good: [LcoreOption, string, Record<number, number[]>][] = [
  ['-l', '0', { 0: [0] }],
  ['-l', '0-1,3', { 0: [0], 1: [1], 3: [3] }],
  ['-l', ' 3, 1 ', { 1: [1], 3: [3] }],
  ['-c', '0x3', { 0: [0], 1: [1] }],
  ['-c', 'A', { 1: [1], 3: [3] }],
  ['-c', '0Xf', { 0: [0], 1: [1], 2: [2], 3: [3] }],
  ['--lcores', '0-2', { 0: [0], 1: [1], 2: [2] }],
  ['--lcores', '0@0,1@(0-1),(2-3)@1', { 0: [0], 1: [0, 1], 2: [1], 3: [1] }],
  ['--lcores', '0@0,2@0', { 0: [0], 2: [0] }],
  ['--lcores', '(0,2)', { 0: [0, 2], 2: [0, 2] }],
  [
    '--lcores',
    '1,2@(0-1),(3-5)@(0,2),(0,6)@1,7-8@3',
    { 0: [1], 1: [1], 2: [0, 1], 3: [0, 2], 4: [0, 2], 5: [0, 2], 6: [1], 7: [3], 8: [3] },
  ],
  ['--lcores', '127@1-2', { 127: [1, 2] }],
  ['--lcores', ' 1 @ ( 0 , 1 ) ', { 1: [0, 1] }],
];
for (const [option, text, expected] of good) {
  test(`${option} '${text}'`, (t) => t.deepEqual(parsed(option, text), expected));
}

const bad: [LcoreOption, string, string, RegExp][] = [
  ['-l', '', 'EOPTION', /a number is missing/],
  ['-l', '0,', 'EOPTION', /a number is missing/],
  ['-l', '0,,1', 'EOPTION', /a number is missing/],
  ['-l', 'a', 'EOPTION', /-l a: "a" is no number or range; expected something like -l 0-3,5/],
  ['-l', '-1', 'EOPTION', /no number or range/],
  ['-l', '1-', 'EOPTION', /no number or range/],
  ['-l', '0x1', 'EOPTION', /no number or range/],
  ['-l', '2-0', 'EOPTION', /runs backwards/],
  ['-l', '0-99999999999', 'EOPTION', /beyond the 1024 CPUs/],
  ['-l', '0,1,0', 'ELCORE', /lcore 0 is there twice/],
  ['-l', '0-1,1-2', 'ELCORE', /lcore 1 is there twice/],
  ['-l', '0-4', 'ELCORE', /lcore 4 needs CPU 4, which this process cannot use: it has CPU 0-3; .*--lcores '0@0,1@0'/],
  ['-c', '', 'EOPTION', /not a hexadecimal mask/],
  ['-c', '0x', 'EOPTION', /not a hexadecimal mask/],
  ['-c', '3g', 'EOPTION', /not a hexadecimal mask/],
  ['-c', '0', 'ELCORE', /at least one lcore/],
  ['-c', '0x10', 'ELCORE', /CPU 4/],
  ['--lcores', '', 'EOPTION', /a number is missing/],
  ['--lcores', '0@', 'EOPTION', /a number is missing/],
  ['--lcores', '@0', 'EOPTION', /a number is missing/],
  ['--lcores', '0@0@1', 'EOPTION', /more than one @/],
  ['--lcores', '(0,1', 'EOPTION', /brackets do not match/],
  ['--lcores', '0,1)', 'EOPTION', /brackets do not match/],
  ['--lcores', '((0))', 'EOPTION', /brackets do not match/],
  ['--lcores', '()@0', 'EOPTION', /a number is missing/],
  ['--lcores', '(0)1', 'EOPTION', /no number or range/],
  ['--lcores', '0@0,0@1', 'ELCORE', /lcore 0 is there twice/],
  ['--lcores', '0@7', 'ELCORE', /lcore 0 needs CPU 7/],
  ['--lcores', '128@0', 'ELCORE', /no lcore 128: ids go from 0 to 127/],
];
for (const [option, text, code, message] of bad) {
  test(`${option} '${text}' is refused`, (t) => {
    t.throws(() => parseLcores(option, text, cpus), { instanceOf: VirtioPmdError, code, message });
  });
}

test('CPUs that this process may not use are told apart from those it may', (t) => {
  t.throws(() => parseLcores('-l', '0', [2, 3, 5]), { message: /it has CPU 2-3,5/ });
});

test('the main lcore is the lowest, or the one asked for, and must be in the list', (t) => {
  const map = parseLcores('--lcores', '3@0,1@0,2@1', cpus);
  t.is(chooseMainLcore(map), 1);
  t.is(chooseMainLcore(map, 3), 3);
  t.throws(() => chooseMainLcore(map, 0), { code: 'ELCORE', message: /main lcore 0 .* choose one of 1-3/ });
});

test('lists are shown as ranges', (t) => {
  t.is(formatList([5, 0, 1, 2]), '0-2,5');
  t.is(formatList([]), '');
});

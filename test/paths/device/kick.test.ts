import test from 'ava';
import { needEvent, packedNeedsNotify, splitNeedsNotify } from '../../../paths/kick.js';

/** Steps from `oldIdx` to `newIdx` one by one and looks whether an entry is placed at `event`. */
function slowNeedEvent(event: number, newIdx: number, oldIdx: number): boolean {
  for (let i = oldIdx; i !== newIdx; i = (i + 1) & 0xffff) if (i === event) return true;
  return false;
}

test('needEvent agrees with stepping, across 65535 -> 0', (t) => {
  for (let from = 65536 - 12; from < 65536 + 12; from++) {
    for (let n = 0; n <= 12; n++) {
      for (let event = 65536 - 30; event < 65536 + 30; event++) {
        const args = [event & 0xffff, (from + n) & 0xffff, from & 0xffff] as const;
        if (needEvent(...args) !== slowNeedEvent(...args)) t.fail(String(args));
      }
    }
  }
  t.pass();
});

test('split: without EVENT_IDX only bit 0 of the flags counts, with it only the event', (t) => {
  t.true(splitNeedsNotify(false, 0, 5, 4));
  t.false(splitNeedsNotify(false, 1, 5, 4));
  t.true(splitNeedsNotify(false, 0xfffe, 5, 4));
  t.true(splitNeedsNotify(true, 4, 5, 4));
  t.false(splitNeedsNotify(true, 5, 5, 4));
});

test('packed: DESC agrees with stepping through the ring, for every size up to 5, position, event and batch', (t) => {
  for (let size = 1; size <= 5; size++) {
    for (let start = 0; start < size * 2; start++) {
      for (let added = 1; added <= size; added++) {
        const placed = new Set<number>(); // position and wrap of each descriptor of the batch
        for (let i = 0; i < added; i++) {
          const at = (start + i) % (size * 2);
          placed.add((at % size) | (at < size ? 0x8000 : 0));
        }
        const end = (start + added) % (size * 2);
        for (let off = 0; off < size; off++) {
          for (const offWrap of [off, off | 0x8000]) {
            const wrap = end < size ? 1 : 0;
            const notify = packedNeedsNotify(true, 2, offWrap, size, end % size, wrap, added);
            if (notify !== placed.has(offWrap)) t.fail(JSON.stringify({ size, start, added, offWrap, notify }));
          }
        }
      }
    }
  }
  t.pass();
});

test('packed: DISABLE never, ENABLE and reserved 3 always, DESC without EVENT_IDX as ENABLE', (t) => {
  t.false(packedNeedsNotify(true, 1, 0, 8, 3, 1, 2));
  t.true(packedNeedsNotify(true, 0, 0, 8, 3, 1, 2));
  t.true(packedNeedsNotify(true, 3, 0x8007, 8, 3, 1, 2));
  t.true(packedNeedsNotify(false, 2, 0x8007, 8, 3, 1, 2));
  t.false(packedNeedsNotify(true, 2, 0x8007, 8, 3, 1, 2));
  t.true(packedNeedsNotify(true, 0xfffc, 0, 8, 3, 1, 2), 'unknown bits of the flags mean nothing');
});

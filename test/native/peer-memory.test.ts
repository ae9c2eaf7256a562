/** Address space for peers' files: granules that are used again, and zeros where a file has been. */
import test from 'ava';
import { addressOfViews, closeFd, createRegion, destroyRegion, viewsOf, type Views } from '../../native/region.js';
import {
  GRANULE,
  granuleViews as granuleViewsNow,
  mapPeerFile,
  peerViews,
  releaseGranules,
  unmapPeerFile,
} from '../../native/peer-memory.js';
import { sparseMemfd } from '../support/sparse.js';

/** Waits until they may be made. */
function granuleViews(address: number): Views {
  for (;;) {
    const views = granuleViewsNow(address);
    if (views !== undefined) return views;
  }
}

test.afterEach.always(() => releaseGranules());

test('a file is mapped at a granule, seen through its views, and gives way to zeros', (t) => {
  const region = createRegion('peer', 8192, false);
  t.teardown(() => destroyRegion(region));
  viewsOf(region).u8[5000] = 7;
  const mapping = mapPeerFile(region.fd, 8192, 0);
  t.is(Number(mapping.address) % GRANULE, 0);
  const views = granuleViews(Number(mapping.address));
  t.is(views.u8[5000], 7);
  t.is(views.u8[8192], 0, 'behind the end of the file: zeros, no bus error');
  views.u8[1] = 9;
  unmapPeerFile(mapping);
  t.is(viewsOf(region).u8[1], 9);
  t.deepEqual([views.u8[5000], views.u8[1]], [0, 0], 'a view used too late finds zeros');
  views.u8[1] = 1;
  t.is(viewsOf(region).u8[1], 9, 'and changes nothing');
});

test('a granule is used again, with the views that it has', (t) => {
  const region = createRegion('peer', 4096, false);
  t.teardown(() => destroyRegion(region));
  const first = mapPeerFile(region.fd, 4096, 0);
  const other = mapPeerFile(region.fd, 4096, 0);
  t.not(first.address, other.address);
  const views = granuleViews(Number(first.address));
  unmapPeerFile(first);
  const again = mapPeerFile(region.fd, 4096, 0);
  t.is(again.address, first.address);
  t.is(granuleViews(Number(again.address)), views);
  unmapPeerFile(again);
  unmapPeerFile(other);
});

test('several granules lie in a row, and a part may cross from one to the next', (t) => {
  const fd = sparseMemfd(3 * GRANULE);
  t.teardown(() => closeFd(fd));
  const mapping = mapPeerFile(fd, 2 * GRANULE + 4096, 4096);
  const start = Number(mapping.address);
  granuleViews(start).u8[GRANULE - 1] = 3;
  granuleViews(start + GRANULE).u8[0] = 4;
  const across = peerViews(start + GRANULE - 16, 32);
  const at = start + GRANULE - 16 - addressOfViews(across);
  t.deepEqual([...across.u8.subarray(at + 15, at + 17)], [3, 4]);
  unmapPeerFile(mapping);
});

test('a file that cannot be mapped leaves the granule free', (t) => {
  t.throws(() => mapPeerFile(0x7ffffff, 4096, 0), { message: /mmap/ });
  const region = createRegion('peer', 4096, false);
  t.teardown(() => destroyRegion(region));
  const mapping = mapPeerFile(region.fd, 4096, 0);
  t.is(granuleViews(Number(mapping.address)).u8[4096], 0);
  unmapPeerFile(mapping);
});

test('ever larger regions find room, and views, where others have been', (t) => {
  const fd = sparseMemfd(300 * GRANULE);
  t.teardown(() => closeFd(fd));
  const first = mapPeerFile(fd, GRANULE, 0);
  const views = granuleViews(Number(first.address));
  unmapPeerFile(first);
  for (let granules = 2; granules < 50; granules++) {
    const mapping = mapPeerFile(fd, granules * GRANULE, 0);
    t.is(granuleViews(Number(mapping.address)), views);
    unmapPeerFile(mapping);
  }
});

test('mappings of ever new sizes do not use up the address space', (t) => {
  const fd = sparseMemfd(300 * GRANULE);
  t.teardown(() => closeFd(fd));
  for (let round = 0; round < 4; round++) {
    for (let granules = 1; granules <= 256; granules++) unmapPeerFile(mapPeerFile(fd, granules * GRANULE, 0));
  }
  t.pass();
});

test('1000 mappings one after another leave nothing behind', (t) => {
  const fd = sparseMemfd(GRANULE);
  t.teardown(() => closeFd(fd));
  const first = mapPeerFile(fd, GRANULE, 0);
  unmapPeerFile(first);
  for (let i = 0; i < 1000; i++) {
    const mapping = mapPeerFile(fd, GRANULE, 0);
    if (mapping.address !== first.address) t.fail('another granule');
    unmapPeerFile(mapping);
  }
  t.pass();
});

test('views of granules are made one in 20 ms when many have been made', (t) => {
  const fd = sparseMemfd(60 * GRANULE);
  t.teardown(() => closeFd(fd));
  const mapping = mapPeerFile(fd, 60 * GRANULE, 0);
  let refused = 0;
  for (let i = 0; i < 60; i++) {
    if (granuleViewsNow(Number(mapping.address) + i * GRANULE) === undefined) refused++;
  }
  t.true(refused > 0);
  const last = Number(mapping.address) + 59 * GRANULE;
  const views = granuleViews(last);
  t.is(granuleViewsNow(last), views);
  unmapPeerFile(mapping);
});

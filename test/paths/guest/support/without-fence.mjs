// `node --import` of this file forgets `fence` in the scope of a factory of paths/guest/packed.ts: a mistake that only a weakly
// ordered machine runs into.
import { register } from 'node:module';

const hooks = `
  export async function load(url, context, nextLoad) {
    const module = await nextLoad(url, context);
    if (!url.endsWith('/paths/guest/packed.ts')) return module;
    const text = String(module.source);
    const mistaken = text.replace(', WEAK_ORDER, fence }', ', WEAK_ORDER }');
    if (mistaken === text) throw new Error('paths/guest/packed.ts has another scope now');
    return { ...module, source: mistaken };
  }
`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);

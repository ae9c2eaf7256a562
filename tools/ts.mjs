// `node --import ./tools/ts.mjs file.ts`: run TypeScript from source through ts-node (transpile only; `npm run typecheck` checks).
import { register } from 'node:module';

register('./ts-hooks.mjs', import.meta.url);

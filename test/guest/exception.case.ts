/** The exception path: a guest without NICs whose kernel serves our ports by vhost-net, with its own stack behind the taps. */
import { casesInGuest } from './cases.js';
import { guideCases } from './exception-guide.js';
import { lifeCases } from './exception-life.js';
import { exceptionParts } from './exception-parts.js';
import { interruptCases } from './interrupt-exception.js';
import { refusalCases } from './exception-refusals.js';
import { trafficCases } from './exception-traffic.js';

const inGuest = casesInGuest({ iommu: false, hugepages: 0, nics: [], more: { entries: exceptionParts() } });

guideCases(inGuest);
trafficCases(inGuest);
lifeCases(inGuest);
interruptCases(inGuest);
refusalCases(inGuest);

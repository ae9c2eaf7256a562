/** The exception path: a guest without NICs whose kernel serves our ports by vhost-net, with its own stack behind the taps. */
import { casesInGuest } from './support/cases.js';
import { guideCases } from './support/exception-guide.js';
import { lifeCases } from './support/exception-life.js';
import { exceptionParts } from './support/exception-parts.js';
import { interruptCases } from './support/interrupt-exception.js';
import { refusalCases } from './support/exception-refusals.js';
import { trafficCases } from './support/exception-traffic.js';

const inGuest = casesInGuest({ iommu: false, hugepages: 0, nics: [], more: { entries: exceptionParts() } });

guideCases(inGuest);
trafficCases(inGuest);
lifeCases(inGuest);
interruptCases(inGuest);
refusalCases(inGuest);

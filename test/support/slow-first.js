'use strict';

const Sequencer = require('@jest/test-sequencer').default;

/** Runs slow tests before all others: one that is begun last would keep one processor waiting for a minute. */
class SlowFirst extends Sequencer {
  sort(tests) {
    const sorted = super.sort(tests);
    const isSlow = ({ path }) => path.endsWith('.slow.test.ts');
    return [...sorted.filter(isSlow), ...sorted.filter((test) => !isSlow(test))];
  }
}

module.exports = SlowFirst;

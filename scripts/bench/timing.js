'use strict';

function median(values) {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

/** How many seconds something takes. */
async function timed(body) {
  const start = performance.now();
  await body();
  return (performance.now() - start) / 1000;
}

module.exports = { median, timed };

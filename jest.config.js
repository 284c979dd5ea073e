'use strict';

// An emulated processor makes everything thirty times slower, sanitizers several times.
const minutes = process.env.WKV_EMULATED ? 10 : process.env.WKV_SANITIZED ? 4 : 1;

module.exports = {
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  testSequencer: '<rootDir>/test/support/slow-first.js',
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      { jsc: { parser: { syntax: 'typescript' }, target: 'es2022' }, module: { type: 'commonjs' } },
    ],
  },
  testTimeout: minutes * 60_000,
  // jest looks every global up in its sandbox, slowly; the oracle needs these in its innermost loops.
  sandboxInjectedGlobals: ['Math', 'Number', 'Object'],
};

'use strict';

module.exports = {
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      { jsc: { parser: { syntax: 'typescript' }, target: 'es2022' }, module: { type: 'commonjs' } },
    ],
  },
  // Sanitizers make everything several times slower.
  testTimeout: process.env.WKV_SANITIZED ? 240_000 : 60_000,
  // jest looks every global up in its sandbox, slowly; the oracle needs these in its innermost loops.
  sandboxInjectedGlobals: ['Math', 'Number', 'Object'],
};

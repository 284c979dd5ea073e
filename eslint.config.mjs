import js from '@eslint/js';
import tseslint from 'typescript-eslint';

const nodeGlobals = Object.fromEntries(
  [
    'AbortController',
    'AbortSignal',
    'Buffer',
    'console',
    'fetch',
    'performance',
    'process',
    'setImmediate',
    'URL',
  ].map((name) => [name, 'readonly']),
);
const commonJsGlobals = {
  __dirname: 'readonly',
  exports: 'writable',
  module: 'writable',
  require: 'readonly',
};

const everywhere = {
  eqeqeq: 'error',
  'no-empty': ['error', { allowEmptyCatch: false }],
  'no-var': 'error',
  'prefer-const': 'error',
};

export default tseslint.config(
  { ignores: ['node_modules/', 'dist/', 'build/', 'out/', 'prebuilds/', 'coverage/', 'vocabulary/'] },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      ...everywhere,
      // A matter of taste: handlers of one line return what they call.
      '@typescript-eslint/no-confusing-void-expression': 'off',
      // `process.env['NAME']` is what noPropertyAccessFromIndexSignature of tsconfig.json asks for.
      '@typescript-eslint/dot-notation': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
    },
  },
  {
    // A test says what it expects in its own words: `array[0]!` fails as loudly as an assertion.
    files: ['test/**/*.ts'],
    rules: { '@typescript-eslint/no-non-null-assertion': 'off' },
  },
  {
    files: ['**/*.js', '**/*.cjs'],
    languageOptions: { sourceType: 'commonjs', globals: { ...nodeGlobals, ...commonJsGlobals } },
    rules: everywhere,
  },
  {
    files: ['examples/electron/*.js', 'examples/electron/*.cjs'],
    languageOptions: { globals: { document: 'readonly', MessageChannel: 'readonly', window: 'readonly' } },
  },
  {
    files: ['**/*.mjs'],
    languageOptions: { sourceType: 'module', globals: nodeGlobals },
    rules: everywhere,
  },
  {
    // Read by a Node that may be too old for anything newer.
    files: ['scripts/lib/require-node.js'],
    languageOptions: { ecmaVersion: 5 },
    rules: { 'no-var': 'off' },
  },
);

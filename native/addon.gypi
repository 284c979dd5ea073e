# The build of users and prebuilds, by binding.gyp; CMakeLists.txt is that of development. Both read native/sources.json.
{
  'variables': {
    'openssl_fips%': '',
    'list': 'node native/sources.js',
  },
  'target_defaults': {
    'include_dirs': [ '<!@(<(list) include)' ],
    'defines': [ '<!@(<(list) defines)', 'NDEBUG' ],
    'cflags_cc!': [ '-fno-exceptions', '-fno-rtti', '-std=gnu++17', '-std=gnu++20' ],
    'cflags_cc': [ '-std=c++20', '-fexceptions' ],
    'cflags!': [ '-O2' ],
    'cflags': [ '<!@(<(list) flags)' ],
    'xcode_settings': {
      'CLANG_CXX_LANGUAGE_STANDARD': 'c++20',
      'CLANG_CXX_LIBRARY': 'libc++',
      'GCC_ENABLE_CPP_EXCEPTIONS': 'YES',
      'GCC_SYMBOLS_PRIVATE_EXTERN': 'YES',
      'MACOSX_DEPLOYMENT_TARGET': '11.0',
      'OTHER_CFLAGS': [ '<!@(<(list) flags)' ],
    },
    'msvs_settings': {
      'VCCLCompilerTool': { 'ExceptionHandling': 1, 'AdditionalOptions': [ '/std:c++20', '/fp:precise' ] },
    },
  },
  'targets': [
    {
      'target_name': 'wkv_portable',
      'type': 'static_library',
      'sources': [ '<!@(<(list) isa portable)' ],
    },
    {
      'target_name': 'wkv',
      'sources': [ '<!@(<(list) core)', '<!@(<(list) addon)' ],
      'include_dirs': [ '<!@(<(list) node-api)' ],
      'dependencies': [ 'wkv_portable' ],
      'conditions': [
        ['target_arch=="x64"', { 'dependencies': [ 'wkv_avx2', 'wkv_avx512' ] }],
        ['target_arch=="arm64"', { 'dependencies': [ 'wkv_neon' ] }],
      ],
    },
  ],
  'conditions': [
    ['target_arch=="x64"', {
      'targets': [
        {
          'target_name': 'wkv_avx2',
          'type': 'static_library',
          'sources': [ '<!@(<(list) isa avx2)' ],
          'cflags': [ '<!@(<(list) isa-flags avx2)' ],
          'xcode_settings': { 'OTHER_CFLAGS': [ '<!@(<(list) isa-flags avx2)' ] },
          'msvs_settings': { 'VCCLCompilerTool': { 'AdditionalOptions': [ '/arch:AVX2' ] } },
        },
        {
          'target_name': 'wkv_avx512',
          'type': 'static_library',
          'sources': [ '<!@(<(list) isa avx512)' ],
          'cflags': [ '<!@(<(list) isa-flags avx512)' ],
          'xcode_settings': { 'OTHER_CFLAGS': [ '<!@(<(list) isa-flags avx512)' ] },
          'msvs_settings': { 'VCCLCompilerTool': { 'AdditionalOptions': [ '/arch:AVX512' ] } },
        },
      ],
    }],
    ['target_arch=="arm64"', {
      'targets': [
        {
          'target_name': 'wkv_neon',
          'type': 'static_library',
          'sources': [ '<!@(<(list) isa neon)' ],
        },
      ],
    }],
  ],
}

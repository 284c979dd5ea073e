# The build of users and prebuilds; CMakeLists.txt is that of development. Both read native/sources.json.
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
    # Never run: there was no Mac and no MSVC to build on. As options, because a real common.gypi of Node has settings
    # of its own, which would win. Node-gyp links its delay-load hook by itself.
    'xcode_settings': {
      'CLANG_CXX_LANGUAGE_STANDARD': 'c++20',
      'CLANG_CXX_LIBRARY': 'libc++',
      'GCC_ENABLE_CPP_EXCEPTIONS': 'YES',
      'GCC_SYMBOLS_PRIVATE_EXTERN': 'YES',
      'MACOSX_DEPLOYMENT_TARGET': '11.0',
      'OTHER_CFLAGS': [ '<!@(<(list) flags)' ],
      'OTHER_CPLUSPLUSFLAGS': [ '$(inherited)', '-std=c++20', '-fexceptions', '-frtti' ],
      'DEAD_CODE_STRIPPING': 'YES',
    },
    'msvs_settings': {
      'VCCLCompilerTool': {
        # /GL- keeps code for different instruction sets apart.
        'AdditionalOptions': [ '/std:c++20', '/EHsc', '/GR', '/GL-', '/fp:precise', '/utf-8' ],
        'PreprocessorDefinitions': [ '_HAS_EXCEPTIONS=1' ],
      },
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

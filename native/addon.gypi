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
    # What computes lies in the libraries; the rest is compiled for size.
    'target_conditions': [
      ['_type=="static_library"', {
        'cflags': [ '<!@(<(list) optimize speed)' ],
        'xcode_settings': { 'GCC_OPTIMIZATION_LEVEL': '3' },
        'msvs_settings': { 'VCCLCompilerTool': { 'Optimization': 2 } },
      }, {
        'cflags': [ '<!@(<(list) optimize size)' ],
        'xcode_settings': { 'GCC_OPTIMIZATION_LEVEL': 's' },
        'msvs_settings': { 'VCCLCompilerTool': { 'Optimization': 1 } },
      }],
    ],
    'conditions': [
      ['OS=="linux"', {
        'cflags': [ '<!@(<(list) linux flags)' ],
        'ldflags': [ '<!@(<(list) linux link)' ],
      }],
    ],
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
      'sources': [ '<!@(<(list) isa portable sources)' ],
    },
    {
      'target_name': 'wkv_speed',
      'type': 'static_library',
      'sources': [ '<!@(<(list) together core speed)' ],
    },
    {
      'target_name': 'wkv',
      'sources': [ '<!@(<(list) together core size)', '<!@(<(list) together addon)' ],
      'include_dirs': [ '<!@(<(list) node-api)' ],
      'dependencies': [ 'wkv_speed', 'wkv_portable' ],
      'conditions': [
        # Relative to build/, where make runs: a path with spaces would be cut.
        ['OS=="linux"', { 'ldflags': [ '-Wl,--version-script=../native/linux/exports.map' ] }],
        ['target_arch=="x64"', { 'dependencies': [ 'wkv_avx2', 'wkv_avxvnni', 'wkv_avx512', 'wkv_avx512vnni' ] }],
        ['target_arch=="arm64"', { 'dependencies': [ 'wkv_neon', 'wkv_dotprod', 'wkv_i8mm' ] }],
      ],
    },
  ],
  'conditions': [
    ['target_arch=="x64"', {
      'targets': [
        {
          'target_name': 'wkv_avx2',
          'type': 'static_library',
          'sources': [ '<!@(<(list) isa avx2 sources)' ],
          'cflags': [ '<!@(<(list) isa avx2 flags)' ],
          'xcode_settings': { 'OTHER_CFLAGS': [ '<!@(<(list) isa avx2 flags)' ] },
          'msvs_settings': { 'VCCLCompilerTool': { 'AdditionalOptions': [ '/arch:AVX2' ] } },
        },
        {
          'target_name': 'wkv_avxvnni',
          'type': 'static_library',
          'sources': [ '<!@(<(list) isa avxvnni sources)' ],
          'cflags': [ '<!@(<(list) isa avxvnni flags)' ],
          'xcode_settings': { 'OTHER_CFLAGS': [ '<!@(<(list) isa avxvnni flags)' ] },
          'msvs_settings': { 'VCCLCompilerTool': { 'AdditionalOptions': [ '/arch:AVX2' ] } },
        },
        {
          'target_name': 'wkv_avx512',
          'type': 'static_library',
          'sources': [ '<!@(<(list) isa avx512 sources)' ],
          'cflags': [ '<!@(<(list) isa avx512 flags)' ],
          'xcode_settings': { 'OTHER_CFLAGS': [ '<!@(<(list) isa avx512 flags)' ] },
          'msvs_settings': { 'VCCLCompilerTool': { 'AdditionalOptions': [ '/arch:AVX512' ] } },
        },
        {
          'target_name': 'wkv_avx512vnni',
          'type': 'static_library',
          'sources': [ '<!@(<(list) isa avx512vnni sources)' ],
          'cflags': [ '<!@(<(list) isa avx512vnni flags)' ],
          'xcode_settings': { 'OTHER_CFLAGS': [ '<!@(<(list) isa avx512vnni flags)' ] },
          'msvs_settings': { 'VCCLCompilerTool': { 'AdditionalOptions': [ '/arch:AVX512' ] } },
        },
      ],
    }],
    ['target_arch=="arm64"', {
      'targets': [
        {
          'target_name': 'wkv_neon',
          'type': 'static_library',
          'sources': [ '<!@(<(list) isa neon sources)' ],
        },
        {
          'target_name': 'wkv_dotprod',
          'type': 'static_library',
          'sources': [ '<!@(<(list) isa dotprod sources)' ],
          'cflags': [ '<!@(<(list) isa dotprod flags)' ],
          'xcode_settings': { 'OTHER_CFLAGS': [ '<!@(<(list) isa dotprod flags)' ] },
        },
        {
          'target_name': 'wkv_i8mm',
          'type': 'static_library',
          'sources': [ '<!@(<(list) isa i8mm sources)' ],
          'cflags': [ '<!@(<(list) isa i8mm flags)' ],
          'xcode_settings': { 'OTHER_CFLAGS': [ '<!@(<(list) isa i8mm flags)' ] },
        },
      ],
    }],
  ],
}

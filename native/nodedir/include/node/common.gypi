# Stands in for the common.gypi of Node's headers, so that a build downloads nothing.
# Everything that the addon itself asks for is in native/addon.gypi.
{
  'target_defaults': {
    'default_configuration': 'Release',
    'configurations': {
      'Release': {},
      'Debug': { 'cflags': [ '-g' ] },
    },
    'conditions': [
      ['OS!="win"', {
        'cflags': [ '-fPIC', '-pthread' ],
        'ldflags': [ '-pthread' ],
      }],
    ],
  },
}

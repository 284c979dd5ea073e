# What node-gyp asks of Node's headers, for a build that needs only Node-API (see CONTRIBUTING.md).
{
  'target_defaults': {
    'cflags': [],
    'default_configuration': 'Release',
    'defines': [],
    'include_dirs': [],
    'libraries': []
  },
  'variables': {}
}

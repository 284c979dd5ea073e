# Where node-gyp looks in a checkout. The package does not have this file, because Yarn, for one, compiles whatever has
# it, unasked; native/compile.js writes it when it is wanted.
{ 'includes': [ 'native/addon.gypi' ] }

"""French."""
from .engine import table

JOIN = " "

ANIMALS = table(
    "noun g un le emoji",
    """
renard | m | un renard | le renard | 🦊
lapin | m | un lapin | le lapin | 🐰
ours | m | un ours | l'ours | 🐻
hérisson | m | un hérisson | le hérisson | 🦔
éléphant | m | un éléphant | l'éléphant | 🐘
lion | m | un lion | le lion | 🦁
canard | m | un canard | le canard | 🦆
souris | f | une souris | la souris | 🐭
chouette | f | une chouette | la chouette | 🦉
tortue | f | une tortue | la tortue | 🐢
grenouille | f | une grenouille | la grenouille | 🐸
abeille | f | une abeille | l'abeille | 🐝
girafe | f | une girafe | la girafe | 🦒
""",
)

NAMES = table(
    "name g",
    """
Louis | m
Hugo | m
Gabriel | m
Bastien | m
Paul | m
Nicolas | m
Théo | m
Marcel | m
Simon | m
Victor | m
Camille | f
Chloé | f
Juliette | f
Manon | f
Louise | f
Sophie | f
Rose | f
Léa | f
Margot | f
Zoé | f
""",
)

OBJECTS = table(
    "noun g un le emoji",
    """
clé | f | une clé | la clé | 🔑
lanterne | f | une lanterne | la lanterne | 🏮
écharpe | f | une écharpe | l'écharpe | 🧣
cloche | f | une cloche | la cloche | 🔔
bague | f | une bague | la bague | 💍
balle | f | une balle | la balle | ⚽
chapeau | m | un chapeau | le chapeau | 🎩
livre | m | un livre | le livre | 📖
ballon | m | un ballon | le ballon | 🎈
bateau | m | un bateau | le bateau | ⛵
tambour | m | un tambour | le tambour | 🥁
parapluie | m | un parapluie | le parapluie | ☂️
""",
)

COLORS = table(
    "m f",
    """
rouge | rouge
bleu | bleue
vert | verte
jaune | jaune
blanc | blanche
noir | noire
violet | violette
doré | dorée
argenté | argentée
gris | grise
""",
)

PLACES = table(
    "en",
    """
sous le vieux pont
au bord de la rivière
derrière le moulin
dans la forêt sombre
sur la colline verte
près du lac
dans le jardin aux roses
à côté du phare
dans une grotte tranquille
dans un arbre creux
près de la cascade
au fond de la vallée
""",
)

FOODS = table(
    "du emoji",
    """
de la tarte aux pommes | 🥧
de la soupe chaude | 🍲
du gâteau au miel | 🍯
du pain frais | 🍞
des fraises | 🍓
du fromage | 🧀
des biscuits | 🍪
des crêpes | 🥞
des cerises | 🍒
des carottes | 🥕
""",
)

TRAITS = table(
    "m f",
    """
courageux | courageuse
curieux | curieuse
rêveur | rêveuse
timide | timide
joyeux | joyeuse
malin | maligne
aimable | aimable
rusé | rusée
""",
)

CITIES = table(
    "name",
    """
Paris
Lyon
Marseille
Genève
Montréal
Bruxelles
Lille
Nantes
Bordeaux
Dakar
""",
)

COUNTRIES = table(
    "name de capital",
    """
la France | de la France | Paris
l'Allemagne | de l'Allemagne | Berlin
le Japon | du Japon | Tokyo
la Chine | de la Chine | Pékin
l'Espagne | de l'Espagne | Madrid
l'Italie | de l'Italie | Rome
l'Égypte | de l'Égypte | Le Caire
l'Inde | de l'Inde | New Delhi
la Russie | de la Russie | Moscou
le Portugal | du Portugal | Lisbonne
la Grèce | de la Grèce | Athènes
le Sénégal | du Sénégal | Dakar
""",
)

ASK = [
    "[Raconte-moi|Raconte-moi, s'il te plaît,] [une|une petite] histoire avec {hero.un}.",
    "Raconte-moi une histoire avec {hero.un} qui s'appelle {hname}.",
    "Peux-tu me raconter un conte avec {hero.un} et {obj.un} {color.@obj} ?",
    "Je voudrais une histoire avec {hero.un} et {friend.un}.",
    "[Écris|Raconte-moi] un conte sur {hname}, {hero.le}.",
]

BEGIN = "[[Il était une fois|Il y avait une fois] {hero.un} {trait.@hero} qui s'appelait {hname} et vivait {home}.\
|Il y a [longtemps|bien longtemps], {hero.un} {trait.@hero} nommé{hero?:e} {hname} vivait {home}.] {hero.emoji}"

PLOTS = [
    [
        BEGIN,
        "{hname} avait {obj.un} {color.@obj} et [{obj?le:la} gardait toujours tout près|jouait avec tous les jours]. {obj.emoji}",
        "[Un matin|Un soir|Un jour de pluie|Un jour de vent], {obj.le} avait disparu !",
        "{hname} [chercha partout|regarda dans tous les coins], mais [ne trouva rien|ne {obj?le:la} trouva pas], et [se mit à pleurer|devint très triste]. 😢",
        "[Alors|Un peu plus tard|À ce moment], {friend.un} nommé{friend?:e} {fname} passa par là. « [Ne pleure pas|Ne t'inquiète pas], {hname}, dit {fname}, [je vais t'aider|nous allons chercher ensemble]. » {friend.emoji}",
        "[{pair?Ils:Elles} cherchèrent toute la journée|{pair?Ils:Elles} marchèrent longtemps|{pair?Ils:Elles} cherchèrent jusqu'au soir] et [enfin|à la fin] {pair?ils:elles} trouvèrent {obj.le} {spot} !",
        "{hname} [remercia|embrassa] {fname} avec joie, et {pair?ils:elles} mangèrent {food} ensemble. {food.emoji}",
        "[Depuis ce jour|Depuis], {hname} et {fname} [ne se quittent plus|jouent ensemble tous les jours]. [🌟|❤️|😊|]",
    ],
    [
        BEGIN,
        "[Une nuit|Un matin|Un jour d'été], {hname} trouva une vieille carte. La carte montrait le chemin vers un trésor[| secret]. 🗺️",
        "{hname} ne voulait pas partir seul{hero?:e} et appela {fname}, {friend.un} [au grand cœur|du village voisin]. {friend.emoji}",
        "« [Quelle aventure|Un trésor] ! dit {fname}. [Je viens avec toi|Partons tout de suite|Bien sûr que je viens]. »",
        "[Le chemin était long|La nuit était noire|La montagne était haute], mais {fname} [chantait|racontait des blagues|portait une lampe] et {hname} [n'avait pas peur|lisait la carte].",
        "{pair?Ils:Elles} cherchèrent {spot} et trouvèrent une [petite|vieille|lourde] boîte. Dedans, il y avait {obj.un} {color.@obj}. Quelle surprise ! {obj.emoji}",
        "[Le soir|De retour à la maison], {pair?ils:elles} mangèrent {food} et {hname} dit : « [L'amitié est le plus beau trésor|Ce trésor est à nous deux|Sans toi, je n'aurais rien trouvé]. » {food.emoji}",
        "[C'est ainsi que|Et voilà comment] {hname} et {fname} devinrent [inséparables|une vraie équipe]. [🌟|❤️|😊|]",
    ],
    [
        BEGIN,
        "{hname} aimait beaucoup {fname}, {friend.un} [du village voisin|au grand cœur]. {friend.emoji}",
        "Un jour[| d'hiver], {fname} était [malade|très triste] et ne [voulait plus jouer|pouvait pas sortir]. [🤒|😔]",
        "{hname} [eut une idée|réfléchit longtemps] : « [Je vais chercher un cadeau|Un cadeau est le meilleur remède]. »",
        "{hname} [marcha sous la pluie|grimpa sur les rochers|courut contre le vent] et [chercha quelque chose de beau|chercha jusqu'au soir].",
        "Et {spot}, {hname} trouva {obj.un} {color.@obj}. [C'était parfait|Comme c'était beau] ! {obj.emoji}",
        "Quand {fname} vit {obj.le}, {friend?il:elle} [se mit à rire|sourit] et se sentit [mieux|beaucoup mieux].",
        "Puis {pair?ils:elles} mangèrent {food} et [racontèrent des histoires|chantèrent] jusqu'à [minuit|la nuit]. {food.emoji} [🌟|❤️|😊|]",
    ],
]

RECALL = [
    (
        "{hname}",
        "Comment s'appelait {hero.le} ?",
        "[{hero.le} s'appelait {hname}|{hero?Il:Elle} s'appelait {hname}].",
    ),
    ("{fname}", "Qui était {friend.le} ?", "{friend.le}, c'était {fname}. {friend.emoji}"),
    (
        "{fname}",
        "Avec qui {hname} mangea-t-{hero?il:elle} ?",
        "{hname} mangea avec {fname}, {friend.le}. {friend.emoji}",
    ),
    ("{color.@obj}", "De quelle couleur était {obj.le} ?", "{obj.le} était {color.@obj}. {obj.emoji}"),
    ("{spot}", "Où était {obj.le} ?", "{obj.le} était {spot}."),
    ("{home}", "Où vivait {hname} ?", "{hname} vivait {home}. [🏡|]"),
    ("{food}", "Que mangèrent-{pair?ils:elles} ?", "{pair?Ils:Elles} mangèrent {food}. {food.emoji}"),
    ("{obj.un}", "Que trouva {hname} ?", "{hname} trouva {obj.un} {color.@obj}. {obj.emoji}"),
]

INTRO = [
    (
        "Bonjour ! Je m'appelle {uname}, j'habite à {city} et ma couleur préférée est le {ucolor.m}. J'ai {upet.un} qui s'appelle {pname}.",
        "[Quel plaisir|Bonjour], {uname} ! {city} est une [très belle ville|ville magnifique]. [Une caresse pour|Bonjour à] {pname} ! {upet.emoji}",
    ),
    (
        "[Salut|Bonjour], moi, c'est {uname} et j'habite à {city}. Chez moi, il y a {upet.un} ; son nom est {pname}. Ma couleur préférée est le {ucolor.m}.",
        "[Bienvenue|Quel plaisir], {uname} ! {upet.emoji} [Comment puis-je t'aider|Que veux-tu savoir] ?",
    ),
]

REMEMBER = [
    ("{uname}", "[Comment je m'appelle|Te souviens-tu de mon nom] ?", "Tu t'appelles {uname}."),
    (
        "{city}",
        "[Où est-ce que j'habite|Dans quelle ville est-ce que j'habite] ?",
        "Tu habites à {city}. [🏡|]",
    ),
    ("{ucolor.m}", "Quelle est ma couleur préférée ?", "Ta couleur préférée est le {ucolor.m}. [🎨|]"),
    ("{pname}", "Comment s'appelle mon animal ?", "Ton animal s'appelle {pname}. {upet.emoji}"),
    ("{upet.un}", "Quel animal ai-je ?", "Tu as {upet.un}. {upet.emoji}"),
]

SMALL = [
    ("[Bonjour|Salut] !", "Bonjour ! Comment puis-je t'aider ? [👋|😊]"),
    ("Comment vas-tu ?", "[Je vais bien|Très bien], merci. Et toi ? 😊"),
    ("[Merci|Merci beaucoup] !", "[De rien|Avec plaisir] ! [😊|🌟]"),
    ("Qui es-tu ?", "Je suis un tout petit modèle de langue. J'aime les histoires. 📖"),
    ("Que sais-tu faire ?", "Je sais raconter des histoires et répondre à des questions simples. [📖|]"),
    ("Bonne nuit !", "Bonne nuit ! [Dors bien.|Fais de beaux rêves.] 🌙"),
    ("Quel temps fait-il ?", "Je ne peux pas regarder dehors, mais j'espère qu'il fait beau. ☀️"),
    ("Que puis-je manger ce soir ?", "Pourquoi pas {ufood} ? {ufood.emoji}"),
]

KNOW = [
    ("Quelle est la capitale {country.de} ?", "La capitale {country.de} est {country.capital}."),
    ("Combien font {a} plus {b} ?", "{a} plus {b} font {sum}."),
]
